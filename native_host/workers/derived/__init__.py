"""The built-in model in formats that are not shipped: made from its one file, in the worker that first opens
one, and kept.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from native_host.protocol import errors


def derive(source: Path, folder: Path, backend: str) -> None:
    """Make `folder` from the GGUF file `source`, unless it is there: whole or not at all.

    Raises unsupported, invalid_model_file and model_load_failed.
    """
    if folder.is_dir():
        return
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".deriving-", dir=folder.parent))
        try:
            _make(source, made, backend)
            made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        # Another worker may have been first; then there is what we wanted.
        if not folder.is_dir():
            raise errors.model_load_failed(
                folder.name, f"{folder} cannot be written: {error.strerror}"
            ) from None


def _make(source: Path, folder: Path, backend: str) -> None:
    from native_host.workers.derived.safetensors import Source, derive_safetensors

    if backend == "transformers":
        derive_safetensors(Source(source), folder)
    elif backend == "onnx":
        from native_host.workers.derived.onnx import derive_onnx

        derive_onnx(Source(source), folder)
    else:
        raise errors.unsupported(f"the built-in model for the backend {backend!r}")
