"""The backends that keep the contract: another one adds its case here, and nothing else.

All of them serve the built-in model, so that their answers can be held against each other.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from native_host.models.registry import BUILTIN_FILE
from native_host.workers.messages import LoadOptions

ROOT = Path(__file__).parents[3]


class Case(msgspec.Struct, frozen=True):
    """A backend, and how a test gets its model: `make` is given an empty folder and answers what to open."""

    backend: str
    make: Callable[[Path], Path]
    options: LoadOptions = LoadOptions(threads=1)


def as_it_is(_: Path) -> Path:
    """The file that is committed."""
    return BUILTIN_FILE


def as_safetensors(folder: Path) -> Path:
    """The folder that is derived from it."""
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, script, "--to", "safetensors", folder], check=True)
    return folder


def as_onnx(folder: Path) -> Path:
    """The folder that is derived from it, with a graph."""
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, script, "--to", "onnx", folder], check=True)
    return folder


REFERENCE = Case("gguf", as_it_is)
CASES = {
    "gguf": REFERENCE,
    "llama_cpp": Case("llama_cpp", as_it_is),
    "transformers": Case("transformers", as_safetensors),
    "onnx": Case("onnx", as_onnx),
}
