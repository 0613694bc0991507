"""How much memory there is for models, and how much one is foreseen to need."""

from __future__ import annotations

from native_host.models.inspection import size_of
from native_host.models.spec import ModelSpec
from native_host.workers.messages import LoadOptions

WORKER_BYTES = 48 << 20
"""What a worker holds before it has a model: Python and the native module (measured on x86-64 Linux)."""


async def predict_by_size(spec: ModelSpec, options: LoadOptions) -> int:
    """The least that a model's worker will hold: its weights as they lie on the disk."""
    size = size_of(spec.file) if spec.file is not None else None
    return (size or 0) + WORKER_BYTES


def machine_leftover() -> int:
    """Bytes that the machine, or this process's control group, has left. Blocks for a moment."""
    try:
        import tabagent_model  # native code: not before a model is loaded
    except ImportError:  # only GGUF models depend on it, and their workers say what is wrong with it
        import psutil

        return int(psutil.virtual_memory().available)
    return int(tabagent_model.get_memory_info()["usable_bytes"])
