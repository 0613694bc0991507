"""llama.cpp's own converter, from its pinned sources."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.llama_cpp_source import SourceError, fetch_into, folder_name
from native_host.models.convert.request import failed
from native_host.platform.paths import cache_dir
from native_host.protocol import errors

_NEEDED = ("conversion", "gguf-py")
_OUT_TYPES = {"F32": "ALL_F32", "F16": "MOSTLY_F16", "BF16": "MOSTLY_BF16"}

# A pre-tokenizer that is exactly GPT-2's: llama.cpp knows it, though its converter knows it only by the
# tokens that the vocabularies in its list make of a test text.
_GPT2_PRE_TOKENIZER = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def write_gguf(checkpoint: Checkpoint, path: Path, kind: str) -> None:
    """Write the model to `path`, its weights as `kind` (F32, F16 or BF16). Raises RpcError."""
    base, model_class = _converter_of(checkpoint)
    if _has_gpt2_pre_tokenizer(checkpoint.folder):
        base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    file_type = base.gguf.LlamaFileType[_OUT_TYPES[kind]]
    try:
        with torch.inference_mode():
            model_class(checkpoint.folder, file_type, path).write()
    except NotImplementedError as error:
        raise errors.unsupported(f"converting this model to GGUF: {error}") from None


def _converter_of(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """The converter's base module and its class for this architecture."""
    sources = _sources(checkpoint)
    sys.path[:0] = [str(sources), str(sources / "gguf-py")]
    import conversion  # type: ignore[import-not-found]  # it lies in the fetched sources
    from conversion import base

    architecture = checkpoint.config["architectures"][0]
    try:
        return base, conversion.get_model_class(architecture)
    except NotImplementedError:
        raise errors.unsupported(f"converting {architecture} to GGUF") from None


def _sources(checkpoint: Checkpoint) -> Path:
    """The sources in the cache, fetched when they are missing."""
    kept = cache_dir() / "converter" / folder_name()
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        _fetch(checkpoint, kept)
    return kept / "vendor" / "llama.cpp"


def _fetch(checkpoint: Checkpoint, kept: Path) -> None:
    try:
        fetch_into(kept, lambda name: name in _NEEDED, proof="conversion/base.py")
    except SourceError as error:
        raise failed(str(checkpoint.folder), str(error)) from None
    except OSError:
        if not kept.exists():  # else another conversion has fetched it meanwhile
            raise


def _has_gpt2_pre_tokenizer(folder: Path) -> bool:
    try:
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    pre = tokenizer.get("pre_tokenizer") or {}
    same = all(pre.get(key) == value for key, value in _GPT2_PRE_TOKENIZER.items())
    return same and tokenizer.get("normalizer") is None and tokenizer["model"]["type"] == "BPE"
