"""The way out of a connection: frames to a pipe, and what happens when the peer does not read them.

Two marks. Above the first, work for this peer waits (`room`), and if nothing at all is read for the stall
timeout, the connection is told. Above the second, no more is read from the peer either: every frame that it
sends could cost an answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from native_host.protocol.frames import Framing
from native_host.transports.stall import StallWatch

_HARD_FACTOR = 16


class Pipe(Protocol):
    """A pair of byte streams, as asyncio's transports have it. It calls the outlet's `pause` and `resume`."""

    def write(self, data: bytes) -> None:
        """Queue bytes; never blocks."""

    def buffered(self) -> int:
        """How many bytes are queued."""

    def pause_reading(self) -> None:
        """Take no more from the peer for now."""

    def resume_reading(self) -> None:
        """Go on taking."""

    def close(self) -> None:
        """Write what is queued, then close both directions."""

    def abort(self) -> None:
        """Close at once."""


class Outlet:
    """Sends payloads as frames. `room()` is for work that can wait; answers that cannot go out by `send`
    anyway."""

    def __init__(
        self,
        pipe: Pipe,
        framing: Framing,
        mark: int,
        stall_timeout_s: float,
        on_stall: Callable[[], None],
    ) -> None:
        self._pipe = pipe
        self._encode = framing.encode
        self._hard_mark = mark * _HARD_FACTOR
        self._room = asyncio.Event()
        self._room.set()
        self._sent = 0
        self._reading = True
        self.closed = False
        self._stall = StallWatch(stall_timeout_s, lambda: self._sent - self._pipe.buffered(), on_stall)

    def send(self, payload: bytes) -> None:
        """Queue a frame; without effect once closed."""
        if self.closed:
            return
        frame = self._encode(payload)
        self._sent += len(frame)
        self._pipe.write(frame)
        if self._reading and self._pipe.buffered() > self._hard_mark:
            self._reading = False
            self._pipe.pause_reading()

    async def room(self) -> None:
        """Wait until the peer has read enough."""
        await self._room.wait()

    def pause(self) -> None:
        """The pipe holds more than the mark."""
        self._room.clear()
        self._stall.start()

    def resume(self) -> None:
        """The pipe has caught up."""
        self._room.set()
        self._stall.stop()
        if not self._reading:
            self._reading = True
            self._pipe.resume_reading()

    def close(self) -> None:
        """Write what is queued, then close the pipe."""
        self._end()
        self._pipe.close()

    def abort(self) -> None:
        """Close the pipe without writing anything more."""
        self._end()
        self._pipe.abort()

    def _end(self) -> None:
        self.closed = True
        self._room.set()
        self._stall.stop()
