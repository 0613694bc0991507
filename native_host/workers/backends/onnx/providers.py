"""Where a graph runs: onnxruntime's execution providers, chosen like devices."""

from __future__ import annotations

import msgspec
import onnxruntime as ort

from native_host.protocol import errors

_DEVICES = {
    "cuda": "CUDAExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""By device, best first."""
_SAME = {"gpu": "cuda", "mps": "coreml", "metal": "coreml", "dml": "directml"}


class Place(msgspec.Struct, frozen=True):
    """`providers` in the order in which onnxruntime tries them; the CPU runs what the first cannot."""

    device: str
    reason: str
    providers: list[str]


def place(wanted: str | None) -> Place:
    """Choose. Raises invalid_params and unsupported."""
    there = [device for device, provider in _DEVICES.items() if provider in ort.get_available_providers()]
    if wanted is None or wanted.lower() == "auto":
        missing = ", ".join(device for device in _DEVICES if device not in there)
        reason = f"this onnxruntime has no provider for {missing}" if there[0] == "cpu" else "it is there"
        return _place(there[0], reason)
    device = wanted.lower().partition(":")[0]
    device = _SAME.get(device, device)
    if device not in _DEVICES:
        raise errors.invalid_params(
            "device", f"is {wanted!r}; known are 'auto', {', '.join(map(repr, _DEVICES))}"
        )
    if device not in there:
        raise errors.unsupported(f"the device {wanted!r} with the installed onnxruntime")
    return _place(device, "models.json or the request names it")


def _place(device: str, reason: str) -> Place:
    return Place(device, reason, list(dict.fromkeys((_DEVICES[device], _DEVICES["cpu"]))))
