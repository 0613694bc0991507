"""Makes any descriptor fit for asyncio, which takes pipes, sockets and terminals, not files, nor /dev/null.

`native-host < requests > answers` is how people try things. A thread and a pipe stand in between then.
"""

from __future__ import annotations

import os
import stat
import threading
from typing import BinaryIO

_STEP = 256 * 1024


def as_pipe_in(descriptor: int) -> BinaryIO:
    """Something to read from, for `connect_read_pipe`."""
    if _is_polled(descriptor):
        return os.fdopen(descriptor, "rb", buffering=0)
    reading, writing = os.pipe()
    _start_copy(descriptor, writing)
    return os.fdopen(reading, "rb", buffering=0)


def as_pipe_out(descriptor: int) -> tuple[BinaryIO, threading.Thread | None]:
    """Something to write to, for `connect_write_pipe`, and the thread that must end before all is written."""
    if _is_polled(descriptor):
        return os.fdopen(descriptor, "wb", buffering=0), None
    reading, writing = os.pipe()
    return os.fdopen(writing, "wb", buffering=0), _start_copy(reading, descriptor)


def _is_polled(descriptor: int) -> bool:
    mode = os.fstat(descriptor).st_mode
    return not stat.S_ISREG(mode) and (not stat.S_ISCHR(mode) or os.isatty(descriptor))


def _start_copy(source: int, target: int) -> threading.Thread:
    thread = threading.Thread(target=_copy, args=(source, target), name="copy", daemon=True)
    thread.start()
    return thread


def _copy(source: int, target: int) -> None:
    with open(source, "rb", buffering=0) as reading, open(target, "wb", buffering=0) as writing:
        while data := reading.read(_STEP):
            rest = memoryview(data)
            while rest:
                rest = rest[writing.write(rest) :]
