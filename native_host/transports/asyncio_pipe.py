"""Joins asyncio's transports to a connection: a socket, or a pair of pipes."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable

from native_host.transports.connection import Connection

_LOOK_S = 0.25


class TransportPipe:
    """What a connection writes to (`outlet.Pipe`), over one asyncio transport a direction.

    asyncio does not see the end of input while nothing is read. So while reading is paused the descriptor is
    looked at: once the peer can send no more, what is left is no more than the system holds for a pipe, and
    is read to its end.
    """

    def __init__(self, reader: asyncio.ReadTransport, writer: asyncio.WriteTransport, mark: int) -> None:
        self._reader = reader
        self._look: asyncio.TimerHandle | None = None
        self._writer = writer
        writer.set_write_buffer_limits(high=mark, low=mark // 4)

    def write(self, data: bytes) -> None:
        """Queue bytes; the loop writes them as the peer takes them."""
        self._writer.write(data)

    def buffered(self) -> int:
        """How many bytes the peer has not taken."""
        return self._writer.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Take no more from the peer for now."""
        if not self._reader.is_closing():
            self._reader.pause_reading()
            self._look_later()

    def resume_reading(self) -> None:
        """Go on taking."""
        self._stop_looking()
        if not self._reader.is_closing():
            self._reader.resume_reading()

    def close(self) -> None:
        """Write what is queued, then close."""
        self._stop_looking()
        self._reader.close()
        self._writer.close()

    def abort(self) -> None:
        """Close at once. A transport that was lost is closing already, and must not be aborted again."""
        self._stop_looking()
        self._reader.close()
        if not self._writer.is_closing():
            self._writer.abort()

    def _look_later(self) -> None:
        self._look = asyncio.get_running_loop().call_later(_LOOK_S, self._look_for_the_end)

    def _look_for_the_end(self) -> None:
        if self._reader.is_closing():
            return
        if _gone(self._reader):
            self.resume_reading()
        else:
            self._look_later()

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None


def _gone(reader: asyncio.ReadTransport) -> bool:
    """Whether whoever writes to it can write no more."""
    source = reader.get_extra_info("pipe") or reader.get_extra_info("socket")
    poll = select.poll()
    poll.register(source.fileno(), select.POLLHUP | getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))


class Ends(asyncio.Protocol):
    """What asyncio tells about one or both directions, passed to the connection once there is one."""

    def __init__(self, on_made: Callable[[asyncio.Transport], Connection | None] | None = None) -> None:
        self.connection: Connection | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_made = on_made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket was accepted."""
        if self._on_made is not None:
            assert isinstance(transport, asyncio.Transport)
            self.connection = self._on_made(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the peer."""
        if self.connection is not None:
            self.connection.receive(data)

    def eof_received(self) -> bool:
        """The peer writes no more: the end of this connection."""
        if self.connection is not None:
            self.connection.end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """This direction is closed. Nothing that is queued can still be delivered."""
        if not self.lost.done():
            self.lost.set_result(None)
        if self.connection is not None:
            self.connection.end(flush=False)

    def pause_writing(self) -> None:
        """The peer does not read fast enough."""
        if self.connection is not None:
            self.connection.pause()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self.connection is not None:
            self.connection.resume()
