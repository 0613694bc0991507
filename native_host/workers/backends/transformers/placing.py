"""Where a model runs and in which numbers: device, dtype, quantization, threads."""

from __future__ import annotations

from typing import Any

import msgspec
import torch

from native_host.protocol import errors
from native_host.workers.messages import LoadOptions

DTYPES = {
    "f32": torch.float32,
    "f16": torch.float16,
    "bf16": torch.bfloat16,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_BITS = ("8bit", "4bit")


class Placement(msgspec.Struct, frozen=True):
    """`bits` is "8bit", "4bit" or nothing; `dtype` is of what is not quantized, and of sums."""

    device: torch.device
    reason: str
    dtype: torch.dtype
    bits: str | None


def place(options: LoadOptions, config: dict[str, Any]) -> Placement:
    """Choose. Raises unsupported and invalid_params."""
    device, reason = _device(options.device)
    quantization = (options.quantization or "").lower()
    if quantization in _BITS:
        return Placement(device, reason, _dtype(device, config), quantization)
    if quantization in ("", "none"):
        return Placement(device, reason, _dtype(device, config), None)
    if quantization not in DTYPES:
        known = ", ".join(repr(name) for name in (*_BITS, *DTYPES))
        problem = f"is {options.quantization!r}; SafeTensors models know {known}"
        raise errors.invalid_params("quantization", problem)
    return Placement(device, reason, DTYPES[quantization], None)


def dtype_name(dtype: torch.dtype) -> str:
    """As it is written in `models.json`."""
    return _NAMES.get(dtype, str(dtype).removeprefix("torch."))


def _device(wanted: str | None) -> tuple[torch.device, str]:
    if wanted is None or wanted.lower() == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"CUDA is there: {torch.cuda.get_device_name()}"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Metal is there, CUDA is not"
        return torch.device("cpu"), "there is neither CUDA nor Metal"
    try:
        device = torch.device(wanted.lower().replace("gpu", "cuda"))
    except RuntimeError:
        problem = f"is {wanted!r}; known are 'auto', 'cpu', 'cuda', 'cuda:0' and 'mps'"
        raise errors.invalid_params("device", problem) from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise errors.unsupported(f"the device {wanted!r} on this machine")
    return device, "models.json or the request names it"


def _dtype(device: torch.device, config: dict[str, Any]) -> torch.dtype:
    """The weights' own type where the device computes it well.

    CPUs without bfloat16 instructions widen every number anyway, and none is quick at float16: there the
    weights become float32, which holds both exactly.
    """
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    dtype = getattr(torch, stored, torch.float32)
    if device.type != "cpu" or dtype == torch.float32:
        return dtype if isinstance(dtype, torch.dtype) else torch.float32
    if dtype == torch.bfloat16 and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32
