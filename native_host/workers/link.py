"""One end of the socket pair between the host and a worker: frames in, envelopes out.

Both ends use it. It knows nothing of methods; whoever owns it gets every envelope, and is told once when
the other end is gone or talks nonsense.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from native_host.protocol.frames import Frame, FrameDecoder, encode_frame
from native_host.workers.messages import Envelope

MAX_FRAME = 256 * 1024 * 1024


class GarbageError(Exception):
    """The other end sent something that is no envelope."""


class Link(asyncio.Protocol):
    """Reads envelopes from a socket and writes them to it.

    `on_envelope(envelope)` may raise GarbageError for one that makes no sense; `on_lost(reason)` comes
    once, with the GarbageError or OSError that ended the link, or `None` for a plain end of stream.
    `on_pressure(full)` says when the other end reads too slowly and when it has caught up.
    """

    def __init__(
        self,
        on_envelope: Callable[[Envelope], None],
        on_lost: Callable[[Exception | None], None],
        on_pressure: Callable[[bool], None] | None = None,
    ) -> None:
        self._on_envelope = on_envelope
        self._on_lost = on_lost
        self._on_pressure = on_pressure
        self._frames = FrameDecoder(MAX_FRAME)
        self._decoder = msgspec.json.Decoder(Envelope)
        self._encoder = msgspec.json.Encoder()
        self._transport: asyncio.Transport | None = None
        self._garbage: GarbageError | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this once)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Decode whatever frames are complete; anything malformed ends the link."""
        try:
            for frame in self._frames.feed(data):
                if not isinstance(frame, Frame):
                    raise GarbageError("a frame over the limit")
                self._on_envelope(self._decoder.decode(frame.payload))
        except (GarbageError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._garbage = GarbageError(str(error))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, once."""
        self._on_lost(self._garbage or exc)

    def pause_writing(self) -> None:
        """The other end is slow (asyncio calls this at the high-water mark)."""
        if self._on_pressure is not None:
            self._on_pressure(True)

    def resume_writing(self) -> None:
        """The other end has caught up."""
        if self._on_pressure is not None:
            self._on_pressure(False)

    def send(self, envelope: Envelope) -> None:
        """Queue one envelope; without effect once the link is closing."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_frame(self._encoder.encode(envelope)))

    def close(self) -> None:
        """End the link without waiting for what is still to be written."""
        if self._transport is not None:
            self._transport.abort()


def raw(value: msgspec.Struct | list[int] | str | None) -> msgspec.Raw:
    """Encode one member of an envelope."""
    return msgspec.Raw(msgspec.json.encode(value))
