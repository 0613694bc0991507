"""Tells when the parent process has died, however it died.

End of input says the same sooner, unless somebody else holds the other end of the pipe. PR_SET_PDEATHSIG is
of no use: it fires when the parent's *thread* ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio  # not for the relay, which does without

_POLL_S = 0.5


class Parent:
    """The process that is our parent now. `descriptor` is readable once it has ended; where there is none,
    `dead` is to be asked every `wait_s`.
    """

    def __init__(self) -> None:
        self._process = os.getppid()
        self.descriptor = _open_pidfd(self._process)
        self.wait_s = None if self.descriptor is not None else _POLL_S

    @property
    def dead(self) -> bool:
        """Whether it has ended."""
        return os.getppid() != self._process


def watch(loop: asyncio.AbstractEventLoop, on_death: Callable[[], None]) -> Callable[[], None]:
    """Call `on_death` once, when the process that is our parent now has ended. Returns what stops the
    watch."""
    parent = os.getppid()
    descriptor = _open_pidfd(parent)
    if descriptor is None:
        return _poll(loop, parent, on_death)
    if os.getppid() != parent:  # it died before it could be watched, and its number may be another's now
        os.close(descriptor)
        loop.call_soon(on_death)
        return _nothing
    return _watch_pidfd(loop, descriptor, on_death)


def _open_pidfd(process: int) -> int | None:
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(process)
    except OSError:  # an old kernel, a sandbox, or a parent outside our process namespace (number 0)
        return None


def _watch_pidfd(
    loop: asyncio.AbstractEventLoop, descriptor: int, on_death: Callable[[], None]
) -> Callable[[], None]:
    def stop() -> None:
        if loop.remove_reader(descriptor):
            os.close(descriptor)

    def died() -> None:
        stop()
        on_death()

    loop.add_reader(descriptor, died)
    return stop


def _poll(loop: asyncio.AbstractEventLoop, parent: int, on_death: Callable[[], None]) -> Callable[[], None]:
    timer: list[asyncio.TimerHandle] = []

    def look() -> None:
        if os.getppid() != parent:
            on_death()
        else:
            timer[:] = [loop.call_later(_POLL_S, look)]

    def stop() -> None:
        for handle in timer:
            handle.cancel()

    look()
    return stop


def _nothing() -> None:
    pass
