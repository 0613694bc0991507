"""Opens a folder as what its files say that it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from native_host.workers.backends import Backend, Progress
from native_host.workers.backends.transformers.folder import read_config
from native_host.workers.backends.transformers.placing import place
from native_host.workers.messages import LoadOptions


def open_folder(path: str, options: LoadOptions, progress: Progress) -> Backend:
    """Load the model in a folder. Raises RpcError."""
    folder = Path(path)
    config = read_config(folder)
    transformers.utils.logging.disable_progress_bar()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    placement = place(options, config)
    if _is_language_model(config) and not (folder / "modules.json").is_file():
        from native_host.workers.backends.transformers.generator import Generator

        return Generator(folder, config, placement, options, progress)
    from native_host.workers.backends.transformers.encoder import Encoder

    return Encoder(folder, config, placement, options, progress)


def _is_language_model(config: dict[str, Any]) -> bool:
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in config.get("architectures") or [])
