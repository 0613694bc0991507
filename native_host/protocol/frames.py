"""Frames: an unsigned 32-bit length in native byte order, then that many bytes. Cuts and builds them.

What the bytes mean is the business of `envelopes`. A frame that may not be held is drained: its bytes are
counted and dropped as they come, so the stream stays in step whatever a peer announces.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

import msgspec

HEADER = struct.Struct("=I")


class Frame(msgspec.Struct, frozen=True):
    """A whole frame. `number` counts the frames of this stream from 1, those that were refused included."""

    number: int
    payload: bytes | bytearray


class FrameTooLarge(msgspec.Struct, frozen=True):
    """A frame whose announced length is over the limit. Its bytes are being drained."""

    number: int
    length: int
    limit: int


class FrameNotHeld(msgspec.Struct, frozen=True):
    """A frame for which the shared byte budget had no room. What had come is dropped, the rest drained."""

    number: int
    length: int


Cut = Frame | FrameTooLarge | FrameNotHeld


class ByteBudget:
    """How many bytes may be held by everyone who shares this object. Not for use from several threads."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def take(self, count: int) -> bool:
        """Reserve `count` bytes, or nothing at all and return False."""
        if self.held + count > self.limit:
            return False
        self.held += count
        return True

    def give(self, count: int) -> None:
        """Return `count` bytes that `take` reserved."""
        self.held -= count


class Decoder(Protocol):
    """What arrives, to frames and refusals. `frames` counts both."""

    frames: int

    def feed(self, data: bytes | bytearray | memoryview) -> list[Cut]:
        """Take what has arrived; return what it completes."""

    def close(self) -> None:
        """Nothing more will arrive."""


class FrameDecoder:
    """Cuts frames out of a byte stream that arrives in pieces of any size.

    Bytes of a frame count against `budget` from the moment they are kept. Whoever receives a `Frame` owes its
    length to the budget and gives it back when the frame's content is no longer held.
    """

    def __init__(self, max_bytes: int, budget: ByteBudget | None = None) -> None:
        self.max_bytes = max_bytes
        self.frames = 0
        self._budget = budget
        self._header = bytearray()
        self._body: bytearray | None = None
        self._missing = 0
        self._draining = 0

    def feed(self, data: bytes | bytearray | memoryview) -> list[Cut]:
        """Take the next bytes of the stream; return the frames, or refusals, that they complete."""
        cuts: list[Cut] = []
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._draining:
                at += self._drain(len(view) - at)
            elif self._body is not None:
                at = self._extend(view, at, cuts)
            else:
                at = self._read_header(view, at, cuts)
        return cuts

    def close(self) -> None:
        """Forget an unfinished frame and give its bytes back to the budget."""
        if self._body is not None:
            self._give(len(self._body))
            self._body = None

    def _drain(self, available: int) -> int:
        count = min(self._draining, available)
        self._draining -= count
        return count

    def _read_header(self, view: memoryview, at: int, cuts: list[Cut]) -> int:
        take = min(HEADER.size - len(self._header), len(view) - at)
        self._header += view[at : at + take]
        at += take
        if len(self._header) < HEADER.size:
            return at
        (length,) = HEADER.unpack(self._header)
        self._header.clear()
        self.frames += 1
        if length > self.max_bytes:
            self._draining = length
            cuts.append(FrameTooLarge(self.frames, length, self.max_bytes))
        elif length == 0:
            cuts.append(Frame(self.frames, b""))
        else:
            self._body = bytearray()
            self._missing = length
        return at

    def _extend(self, view: memoryview, at: int, cuts: list[Cut]) -> int:
        body = self._body
        assert body is not None
        take = min(self._missing, len(view) - at)
        if self._budget is not None and not self._budget.take(take):
            cuts.append(FrameNotHeld(self.frames, len(body) + self._missing))
            self._give(len(body))
            self._draining = self._missing
            self._body = None
            return at
        body += view[at : at + take]
        self._missing -= take
        if not self._missing:
            cuts.append(Frame(self.frames, body))
            self._body = None
        return at + take

    def _give(self, count: int) -> None:
        if self._budget is not None:
            self._budget.give(count)


class MessageDecoder:
    """For transports that keep messages apart themselves: what is fed at once is one frame's payload."""

    def __init__(self, max_bytes: int, budget: ByteBudget | None = None) -> None:
        self.max_bytes = max_bytes
        self.frames = 0
        self._budget = budget

    def feed(self, data: bytes | bytearray | memoryview) -> list[Cut]:
        """Take one whole message."""
        self.frames += 1
        if len(data) > self.max_bytes:
            return [FrameTooLarge(self.frames, len(data), self.max_bytes)]
        if self._budget is not None and not self._budget.take(len(data)):
            return [FrameNotHeld(self.frames, len(data))]
        return [Frame(self.frames, bytes(data))]

    def close(self) -> None:
        """Nothing is ever kept between messages."""


def encode_message(payload: bytes) -> bytes:
    """The message that carries `payload`: itself. Raises ValueError for an empty one, as `encode_frame`
    does."""
    if not payload:
        raise ValueError("an empty message is never sent")
    return payload


def encode_frame(payload: bytes) -> bytes:
    """The frame that carries `payload`. Raises ValueError for an empty one: browsers drop those silently."""
    if not payload:
        raise ValueError("an empty frame is never sent")
    return HEADER.pack(len(payload)) + payload


class Framing(msgspec.Struct, frozen=True):
    """How payloads lie in what a transport carries."""

    decoder: Callable[[int, ByteBudget], Decoder]
    encode: Callable[[bytes], bytes]


LENGTH_PREFIXED = Framing(FrameDecoder, encode_frame)
"""A byte stream: stdio, sockets, workers."""

MESSAGES = Framing(MessageDecoder, encode_message)
"""WebSocket."""
