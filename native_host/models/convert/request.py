"""What can be converted to what, and what the conversion's process is told and tells."""

from __future__ import annotations

import importlib.util
from typing import Any, Literal

import msgspec

from native_host.protocol import errors
from native_host.protocol.errors import RpcError

Target = Literal["onnx", "gguf"]

EXTRA = "native-host[convert]"
MODULES: dict[Target, tuple[str, ...]] = {
    "onnx": ("torch", "transformers", "safetensors", "onnx", "onnxscript", "onnxruntime"),
    "gguf": ("torch", "transformers", "safetensors"),
}
"""What must be importable for each target; the extra brings it."""

QUANTIZATIONS: dict[Target, tuple[str, ...]] = {
    "onnx": ("F32", "F16", "INT8", "INT4"),
    "gguf": (
        *("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S"),
        *("Q4_1", "Q4_0", "IQ4_NL", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"),
    ),
}
"""How weights can be stored, best first."""


class ConvertRequest(msgspec.Struct, frozen=True):
    """One conversion. `source` and `staging` are absolute; the result goes into the folder `staging`, which
    the process may fill as it likes, under the name `result`.
    """

    source: str
    to: Target
    quantize: str
    staging: str
    result: str


class Step(msgspec.Struct, frozen=True, tag_field="type", tag="step"):
    """The process is about to do something; `fraction` of the whole is behind it."""

    text: str
    fraction: float


class Done(msgspec.Struct, frozen=True, tag_field="type", tag="done"):
    """The result is in place. `details` say what was made and how it compares with its source."""

    details: dict[str, Any]


class Refused(msgspec.Struct, frozen=True, tag_field="type", tag="refused"):
    """An error of the catalogue ends the conversion."""

    code: int
    message: str
    data: dict[str, Any]


Report = Step | Done | Refused


def quantization_of(to: Target, wanted: str | None) -> str:
    """The canonical name of a quantization; without one the weights keep about what they have: F32 in ONNX,
    F16 in GGUF. Raises invalid_params.
    """
    if wanted is None:
        return "F32" if to == "onnx" else "F16"
    if wanted.upper() not in QUANTIZATIONS[to]:
        known = ", ".join(QUANTIZATIONS[to])
        raise errors.invalid_params("quantize", f"{wanted!r} is none that {to} files can have ({known})")
    return wanted.upper()


def require_modules(to: Target) -> None:
    """Raises unsupported, naming the extra, where something that the conversion needs is not installed."""
    missing = [name for name in MODULES[to] if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.unsupported(f"converting to {to} without {', '.join(missing)}", EXTRA)


def failed(source: str, reason: str) -> RpcError:
    """The error for a conversion that went wrong."""
    data = {"model": source, "reason": reason}
    return RpcError("model_load_failed", f"{source} could not be converted: {reason}", data)
