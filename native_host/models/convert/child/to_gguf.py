"""SafeTensors to GGUF, and GGUF to a smaller GGUF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tabagent_model

from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.request import ConvertRequest, failed
from native_host.protocol import errors
from native_host.workers.backends.gguf import translated

_UNQUANTIZED = ("F32", "F16", "BF16")


def quantize_file(request: ConvertRequest, step: Callable[[str, float], None]) -> dict[str, object]:
    """Write the GGUF file `request.source` anew as `request.result`. Raises RpcError."""
    result = Path(request.staging) / request.result
    _quantize(Path(request.source), result, request.quantize, step)
    return _inspected(request, result)


def convert_to_gguf(
    checkpoint: Checkpoint, request: ConvertRequest, step: Callable[[str, float], None]
) -> dict[str, object]:
    """Write the model as the file `request.result`; says what was made. Raises RpcError."""
    from native_host.models.convert.child.gguf_check import compare  # it imports torch

    staging = Path(request.staging)
    result = staging / request.result
    _convert_folder(checkpoint, staging, result, request.quantize, step)
    step("Comparing with the source", 0.7)
    made = _inspected(request, result)
    return {"kind": checkpoint.kind, "difference": compare(checkpoint, result, request.quantize), **made}


def _convert_folder(
    checkpoint: Checkpoint,
    staging: Path,
    result: Path,
    quantization: str,
    step: Callable[[str, float], None],
) -> None:
    from native_host.models.convert.child.llama_cpp_converter import write_gguf  # it imports torch

    if quantization in _UNQUANTIZED:
        step(f"Writing {quantization} weights", 0.1)
        write_gguf(checkpoint, result, quantization)
        return
    whole = staging / "unquantized.gguf"
    step("Writing unquantized weights", 0.1)
    write_gguf(checkpoint, whole, "F16")
    _quantize(whole, result, quantization, step)
    whole.unlink()


def _quantize(source: Path, result: Path, quantization: str, step: Callable[[str, float], None]) -> None:
    step(f"Writing {quantization} weights", 0.5)
    with translated(str(source)):
        try:
            tabagent_model.quantize_gguf(source, result, quantization)
        except tabagent_model.InferenceError as error:
            raise failed(str(source), str(error)) from None


def _inspected(request: ConvertRequest, result: Path) -> dict[str, object]:
    with translated(str(result)):
        facts = tabagent_model.inspect_gguf(result)
    if not facts["loadable"]:
        raise errors.invalid_model_file(
            request.source, f"its conversion cannot be loaded: {facts['problem']}"
        )
    return {
        "architecture": facts["architecture"],
        "quantization": facts["file_type"],
        "size_bytes": facts["size_bytes"],
    }
