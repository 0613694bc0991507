"""Runs a conversion's process: tells it what to do, hears how far it is, puts its result in place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from native_host.models.convert.request import (
    ConvertRequest,
    Done,
    Refused,
    Report,
    Step,
    Target,
    failed,
    quantization_of,
    require_modules,
)
from native_host.protocol import errors
from native_host.workers.launcher import PACKAGE_ROOT, child_environment, describe_exit

OnStep = Callable[[Step], None]

_COMMAND = (sys.executable, "-m", "native_host.models.convert.child")


def convert(source: Path, to: Target, quantize: str | None, out: Path, on_step: OnStep) -> Done:
    """Convert the model at `source` (a SafeTensors folder, or a GGUF file to be quantized) to `out`: a folder
    for ONNX, a file for GGUF.

    The result is made in a folder beside `out`, checked there, and put in place whole: whatever ends this
    early, KeyboardInterrupt included, leaves nothing behind. Raises RpcError.
    """
    wanted = quantization_of(to, quantize)
    require_modules(to)
    _refuse_target(out, to)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.converting-"))
    try:
        request = ConvertRequest(os.path.abspath(source), to, wanted, str(staging), out.name)  # noqa: PTH100 -- links stay
        done = _run(request, on_step)
        (staging / out.name).rename(out)
        return done
    except FileExistsError:
        raise errors.invalid_params("out", f"{out} was made by somebody else meanwhile") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_target(out: Path, to: Target) -> None:
    """Refuse a place that is taken or cannot be. Raises invalid_params."""
    if out.exists() or out.is_symlink():
        raise errors.invalid_params("out", f"{out} exists already; name another place or remove it")
    if not out.parent.is_dir():
        raise errors.invalid_params("out", f"there is no folder {out.parent}")
    if not os.access(out.parent, os.W_OK):
        raise errors.invalid_params("out", f"the folder {out.parent} cannot be written to")
    if to == "gguf" and out.suffix != ".gguf":
        raise errors.invalid_params("out", f"{out.name} must end in .gguf")


def _run(request: ConvertRequest, on_step: OnStep) -> Done:
    with tempfile.TemporaryFile() as said, _spawn(said) as process:
        try:
            report = _talk(process, request, on_step)
        finally:
            # Its own group: a converter that started something does not leave it behind.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if isinstance(report, Refused):
            raise errors.from_wire(report.code, report.message, report.data)
        if report is None:
            reason = f"the process that converts {describe_exit(process.returncode)}{_last_line(said)}"
            raise failed(request.source, reason)
        return report


def _spawn(said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Its standard input is its life line: when this process is gone, however it went, so is the child."""
    return subprocess.Popen(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        start_new_session=True,
        cwd=PACKAGE_ROOT,
        env=child_environment(),
    )


def _talk(
    process: subprocess.Popen[bytes], request: ConvertRequest, on_step: OnStep
) -> Done | Refused | None:
    """The last report; `None` where the process ended without one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(msgspec.json.encode(request) + b"\n")
    process.stdin.flush()
    for line in process.stdout:
        report: Report = msgspec.json.decode(line, type=Report)
        if not isinstance(report, Step):
            return report
        on_step(report)
    process.wait()
    return None


def _last_line(said: IO[bytes]) -> str:
    said.seek(0)
    lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({lines[-1]})" if lines else ""
