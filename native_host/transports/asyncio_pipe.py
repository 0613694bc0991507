"""Joins asyncio's transports to a connection: a socket, or a pair of pipes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from native_host.transports.connection import Connection


class TransportPipe:
    """What a connection writes to (`outlet.Pipe`), over one asyncio transport a direction."""

    def __init__(self, reader: asyncio.ReadTransport, writer: asyncio.WriteTransport, mark: int) -> None:
        self._reader = reader
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

    def resume_reading(self) -> None:
        """Go on taking."""
        if not self._reader.is_closing():
            self._reader.resume_reading()

    def close(self) -> None:
        """Write what is queued, then close."""
        self._reader.close()
        self._writer.close()

    def abort(self) -> None:
        """Close at once. A transport that was lost is closing already, and must not be aborted again."""
        self._reader.close()
        if not self._writer.is_closing():
            self._writer.abort()


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
