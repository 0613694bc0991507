"""A connection with no descriptor at all: both ends in one process. For tests, and for embedding the host.

The far end decides when it reads, so back pressure can be tried without a pipe that fills up.
"""

from __future__ import annotations

import asyncio

from native_host.guard.handshake import Handshake
from native_host.protocol.frames import FrameDecoder, encode_frame
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.transports.connection import Connection
from native_host.transports.host import Host


class MemoryPipe:
    """The host's end: bytes that it writes wait here until the far end takes them."""

    def __init__(self, mark: int) -> None:
        self.written = bytearray()
        self.reading = True
        self.closed = asyncio.Event()
        self.changed = asyncio.Event()
        self.connection: Connection | None = None
        self._mark = mark
        self._paused = False

    def write(self, data: bytes) -> None:
        """Keep bytes for the far end."""
        self.written += data
        self.changed.set()
        if len(self.written) > self._mark and not self._paused and self.connection is not None:
            self._paused = True
            self.connection.pause()

    def buffered(self) -> int:
        """What the far end has not taken."""
        return len(self.written)

    def pause_reading(self) -> None:
        """Take nothing more from the far end."""
        self.reading = False

    def resume_reading(self) -> None:
        """Go on taking."""
        self.reading = True

    def close(self) -> None:
        """No more is written; what is there can still be taken."""
        self.closed.set()
        self.changed.set()

    def abort(self) -> None:
        """Close, and drop what was not taken."""
        self.written.clear()
        self.close()

    def take(self, most: int | None = None) -> bytes:
        """The far end reads up to `most` bytes."""
        taken = bytes(self.written[:most])
        del self.written[:most]
        if self._paused and len(self.written) <= self._mark // 4 and self.connection is not None:
            self._paused = False
            self.connection.resume()
        return taken


class MemoryPeer:
    """The far end. `send` and `receive` speak payloads, `feed` raw bytes."""

    def __init__(
        self,
        host: Host,
        *,
        name: str = "memory",
        origin: str | None = None,
        max_frame_out: int = MAX_FRAME_BYTES,
        handshake: Handshake | None = None,
    ) -> None:
        self.pipe = MemoryPipe(host.settings.out_queue)
        self.ended = asyncio.Event()
        self.connection = Connection(
            host,
            self.pipe,
            name=name,
            on_end=lambda _: self.ended.set(),
            origin=origin,
            max_frame_out=max_frame_out,
            handshake=handshake,
        )
        self.pipe.connection = self.connection
        self._frames = FrameDecoder(2**32 - 1)
        self._payloads: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Bytes to the host, as they are."""
        self.connection.receive(data)

    def send(self, payload: bytes) -> None:
        """One frame to the host."""
        self.feed(encode_frame(payload))

    async def receive(self) -> bytes:
        """The payload of the next frame from the host. Raises EOFError when there will be none."""
        while not self._payloads:
            if not self.pipe.written:
                if self.pipe.closed.is_set():
                    raise EOFError
                self.pipe.changed.clear()
                await self.pipe.changed.wait()
            self.read_waiting()
        return self._payloads.pop(0)

    def read_waiting(self) -> None:
        """Take everything that the host has written by now."""
        cuts = self._frames.feed(self.pipe.take())
        self._payloads += [bytes(cut.payload) for cut in cuts if hasattr(cut, "payload")]

    def close(self) -> None:
        """End of stream, as the host sees it."""
        self.connection.end()
