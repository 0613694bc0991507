"""What a folder must be to be opened: SafeTensors and JSON. Nothing in it is ever run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from native_host.protocol import errors
from native_host.workers.backends.text import read_json

_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.json, after the checks. Raises invalid_model_file."""
    file = folder / "config.json"
    if not file.is_file():
        raise errors.invalid_model_file(str(folder), "has no config.json")
    config = read_json(file)
    for name in ("config.json", "tokenizer_config.json"):
        if read_json(folder / name).get("auto_map"):
            problem = "names Python code to run (auto_map); a model's code is never run here"
            raise errors.invalid_model_file(str(folder / name), problem)
    if not any(folder.glob("*.safetensors")):
        raise errors.invalid_model_file(str(folder), _what_instead(folder))
    return config


def weights_bytes(folder: Path) -> int:
    """Bytes of the folder's SafeTensors files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _what_instead(folder: Path) -> str:
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
    if pickles:
        return (
            f"has its weights in {pickles[0]} only: opening such a pickle runs whatever code is in it; "
            "convert the weights to SafeTensors"
        )
    return "has no .safetensors file"
