"""Which model, if any, a file or a folder is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from native_host.models.formats import Format
from native_host.models.inspection import inspect_file
from native_host.protocol import errors


async def format_at(path: Path) -> Format:
    """The format of the model at a path; a GGUF file is read and checked. Raises invalid_model_file."""
    if not await asyncio.to_thread(path.is_dir):
        said = await inspect_file(path)
        if not said.get("loadable", True):
            raise errors.invalid_model_file(str(path), str(said.get("problem")))
        return "gguf"
    weights = await asyncio.to_thread(folder_format, path)
    if weights is None:
        raise errors.invalid_model_file(
            str(path), "holds no model: config.json with .safetensors files, or ONNX files, are looked for"
        )
    return weights


def folder_format(folder: Path) -> Format | None:
    """The format of the one model that a folder holds; None for a folder that is no model."""
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return "safetensors"
    if (folder / "genai_config.json").is_file():
        return "onnx"
    if (folder / "config.json").is_file() and (any(folder.glob("*.onnx")) or any(folder.glob("onnx/*.onnx"))):
        return "onnx"
    return None
