"""How much memory there is for models, and how much one is foreseen to need."""

from __future__ import annotations

from native_host.models.backends import backend_of
from native_host.models.folder_memory import FolderMemory, foresee
from native_host.models.inspection import size_of
from native_host.models.spec import ModelSpec
from native_host.workers.messages import LoadOptions

MIB = 1 << 20
WORKER_BYTES = 48 * MIB
"""What a worker holds before it has a model: Python and the native module (x86-64 Linux, rounded up)."""
_OTHERS = {"transformers": 720 * MIB, "onnx": 96 * MIB}
"""The same for backends whose libraries weigh more."""
_QUANTIZED = {"4bit": 0.35, "8bit": 0.6}
"""What is left of weights of 16 bits, with the scales and the layers that are not quantized."""


async def predict_by_size(spec: ModelSpec, options: LoadOptions) -> int:
    """What a model's worker will hold: its weights as they will lie in memory, one sequence and a step of a
    language model in SafeTensors, and the process around them. Raises unsupported for a format without a
    backend.
    """
    return weights_by_size(spec, options) + sum(by_shape(spec, options)) + worker_bytes(spec)


def weights_by_size(spec: ModelSpec, options: LoadOptions) -> int:
    """Bytes of a model's weights as they will lie in memory, or lie on the disk where that is all that is
    known.
    """
    size = size_of(spec.stored) if spec.stored is not None else None
    weights = int((size or 0) * _QUANTIZED.get(options.quantization or "", 1.0))
    shaped = _shaped(spec, options)
    if shaped is not None:
        weights = shaped.weights
    if spec.format == "safetensors" and options.max_memory is not None:
        weights = min(weights, max_memory_bytes(options.max_memory))  # the rest stays on the disk
    return weights


def by_shape(spec: ModelSpec, options: LoadOptions) -> tuple[int, int]:
    """Bytes of the KV cache of one sequence, and of what a step computes with; nothing where unknown."""
    shaped = _shaped(spec, options)
    return (0, 0) if shaped is None else (shaped.kv, shaped.compute)


def _shaped(spec: ModelSpec, options: LoadOptions) -> FolderMemory | None:
    if spec.format != "safetensors" or spec.file is None or not spec.file.is_dir():
        return None
    return foresee(spec.file, options)


def worker_bytes(spec: ModelSpec) -> int:
    """What the worker of a model holds before it has it. Raises unsupported where there is no backend."""
    return _OTHERS.get(backend_of(spec).name, WORKER_BYTES)


def max_memory_bytes(given: int | dict[str, int]) -> int:
    """`max_memory` of all devices together."""
    return sum(given.values()) if isinstance(given, dict) else given


def machine_leftover() -> int:
    """Bytes that the machine, or this process's control group, has left. Blocks for a moment."""
    try:
        import tabagent_model  # native code: not before a model is loaded
    except ImportError:  # only GGUF models depend on it, and their workers say what is wrong with it
        import psutil

        return int(psutil.virtual_memory().available)
    return int(tabagent_model.get_memory_info()["usable_bytes"])
