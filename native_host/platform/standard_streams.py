"""Takes standard input and output away from everything that might print.

Native libraries, `print`, warnings and crashes all write to descriptor 1. Frames must be alone on the real
one, so it is moved to a descriptor that nobody else knows, and 1 then leads to stderr.
"""

from __future__ import annotations

import os


def claim() -> tuple[int, int]:
    """Move the real stdin and stdout away; return their new descriptors, which no child inherits.

    Afterwards 0 reads nothing (`/dev/null`) and 1 is stderr. Raises OSError if 0 or 1 is not open.
    """
    _ensure_stderr()
    frames_in, frames_out = _move(0), _move(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return frames_in, frames_out


def _move(descriptor: int) -> int:
    """A duplicate above the standard three. `os.dup` makes it close-on-exec."""
    low: list[int] = []
    moved = os.dup(descriptor)
    while moved <= 2:
        low.append(moved)
        moved = os.dup(descriptor)
    for other in low:
        os.close(other)
    return moved


def _ensure_stderr() -> None:
    """A parent may start us with stderr closed; the next file opened would take its place."""
    try:
        os.fstat(2)
    except OSError:
        nothing = os.open(os.devnull, os.O_RDWR)
        if nothing != 2:
            os.dup2(nothing, 2)
            os.close(nothing)
