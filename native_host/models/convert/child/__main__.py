"""`python -m native_host.models.convert.child`: reads a request from standard input, reports on standard
output, one JSON document a line. When standard input ends, so does it.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec

from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.request import ConvertRequest, Done, Refused, Report, Step, failed
from native_host.protocol.errors import RpcError


def main() -> None:
    """Convert once."""
    reports = _own_standard_output()
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ConvertRequest)
    threading.Thread(target=_end_with_parent, args=(Path(request.staging),), daemon=True).start()

    def tell(report: Report) -> None:
        reports.write(msgspec.json.encode(report) + b"\n")
        reports.flush()

    tell(_outcome(request, lambda text, fraction: tell(Step(text, fraction))))
    # Libraries' threads and exit handlers have nothing to save, and may take seconds or hang.
    sys.stderr.flush()
    os._exit(0)


def _own_standard_output() -> BinaryIO:
    """Where reports go; whatever libraries print goes to standard error from now on."""
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return ours


def _end_with_parent(staging: Path) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(staging, ignore_errors=True)
    os._exit(1)


def _outcome(request: ConvertRequest, step: Callable[[str, float], None]) -> Done | Refused:
    try:
        return Done(_converted(request, step))
    except RpcError as error:
        return Refused(error.code, error.message, error.data)
    except MemoryError:
        reason = "it does not fit the memory of this machine"
    except Exception as error:  # noqa: BLE001 -- whatever libraries raise, the user gets a sentence
        traceback.print_exc()
        reason = _first_cause(error)
    refusal = failed(request.source, reason)
    return Refused(refusal.code, refusal.message, refusal.data)


def _first_cause(error: BaseException) -> str:
    """What went wrong first, in one line: torch's exporter wraps it in a page of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def _converted(request: ConvertRequest, step: Callable[[str, float], None]) -> dict[str, object]:
    """What a source is refused for is found out before anything heavy is imported."""
    if request.to == "gguf" and Path(request.source).is_file():
        from native_host.models.convert.child.to_gguf import quantize_file

        return quantize_file(request, step)
    step("Reading the model", 0.0)
    checkpoint = Checkpoint(Path(request.source))
    if request.to == "onnx":
        from native_host.models.convert.child.to_onnx import convert_to_onnx

        return convert_to_onnx(checkpoint, request, step)
    from native_host.models.convert.child.to_gguf import convert_to_gguf

    return convert_to_gguf(checkpoint, request, step)


if __name__ == "__main__":
    main()
