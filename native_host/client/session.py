"""The client's side of a connection, without any I/O: requests to bytes, bytes to events.

Both faces (`host.py` with threads, `async_host.py` with asyncio) drive it, so what they understand is the
same. It joins long results and checks that no piece of a stream is missing; who waits for what is the face's
affair.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from native_host.client.errors import BrokenStream
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import from_wire
from native_host.protocol.frames import Frame, FrameDecoder, encode_frame
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.protocol.messages import TokenLogprob, ToolCallDelta


class Piece(msgspec.Struct, frozen=True):
    """Params of `$/stream`: the next part of an answer. `index` tells several prompts apart; the first one
    of a resumable stream has its name. In a chat, `reasoning` and `tool_calls` come beside `text`, or instead
    of it.
    """

    id: int
    seq: int
    text: str
    index: int | None = None
    logprobs: list[TokenLogprob] | None = None
    stream: str | None = None
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] | None = None


class Progress(msgspec.Struct, frozen=True):
    """Params of `$/progress`: how far a load or a pull is; `fraction` runs from 0 to 1, None where nobody
    knows; bytes are told of what is counted in them."""

    id: int
    stage: str
    fraction: float | None = None
    message: str = ""
    done_bytes: int | None = None
    total_bytes: int | None = None


class Answer(msgspec.Struct, frozen=True):
    """The JSON of a request's result; nothing follows it."""

    id: int
    result: bytes


class Failure(msgspec.Struct, frozen=True):
    """A request came to nothing; nothing follows it."""

    id: int
    error: Exception


Event = Piece | Progress | Answer | Failure


class _Chunk(msgspec.Struct, frozen=True):
    id: int
    index: int
    of: int
    data: str


class _Chunked(msgspec.Struct, frozen=True):
    chunked: bool
    chunks: int
    sha256: str


class _Error(msgspec.Struct, frozen=True):
    code: int
    message: str
    data: dict[str, Any] | None = None


class _Message(msgspec.Struct, frozen=True):
    id: int | str | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None


class Session:
    """Numbers requests, encodes them, and turns what comes back into events.

    `receive` belongs to one reader; the other methods may be called from any thread.
    """

    def __init__(self, max_frame_in: int = MAX_FRAME_BYTES) -> None:
        self.max_frame_in = max_frame_in
        self._ids = itertools.count(1)
        self._frames = FrameDecoder(max_frame_in)
        self._decode = msgspec.json.Decoder(_Message).decode
        self._next_seq: dict[int, int] = {}
        self._chunks: dict[int, list[bytes]] = {}

    def request(self, method: str, params: Mapping[str, object]) -> tuple[int, bytes]:
        """A new request: its id and its frame. Raises ValueError for NaN, infinities and lone surrogates."""
        request_id = next(self._ids)
        if isinstance(first := params.get("from_seq"), int):
            self._next_seq[request_id] = first
        return request_id, _frame({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params})

    def notification(self, method: str, params: Mapping[str, object] | None = None) -> bytes:
        """The frame of a notification."""
        return _frame({"jsonrpc": "2.0", "method": method, "params": params or {}})

    def receive(self, data: bytes) -> list[Event]:
        """Events in the order of the bytes. Raises BrokenStream where a peer does not speak the protocol."""
        events: list[Event] = []
        for frame in self._frames.feed(data):
            if not isinstance(frame, Frame):
                raise BrokenStream(
                    f"the host sent a frame longer than the {self.max_frame_in} bytes agreed on"
                )
            event = self._read(frame.payload)
            if event is not None:
                events.append(event)
        return events

    def _read(self, payload: bytes | bytearray) -> Event | None:
        try:
            return self._event(self._decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenStream(f"the host sent what is no message: {error}") from error

    def _event(self, message: _Message) -> Event | None:
        if message.method is not None:
            return self._notification(message.method, message.params)
        if not isinstance(message.id, int):
            if message.error is not None:
                raise BrokenStream(f"the host could not read a frame of ours: {message.error.message}")
            return None
        chunks = self._forget(message.id)
        if message.error is not None:
            return Failure(
                message.id, from_wire(message.error.code, message.error.message, message.error.data)
            )
        result = bytes(message.result)
        if chunks is None:
            return Answer(message.id, result)
        return _joined(message.id, result, chunks)

    def _notification(self, method: str, params: msgspec.Raw) -> Event | None:
        if method == "$/stream":
            return self._in_order(msgspec.json.decode(params, type=Piece))
        if method == "$/progress":
            return msgspec.json.decode(params, type=Progress)
        if method == "$/chunk":
            return self._keep(msgspec.json.decode(params, type=_Chunk))
        return None

    def _in_order(self, piece: Piece) -> Event:
        expected = self._next_seq.get(piece.id, 0)
        if piece.seq != expected:
            return Failure(
                piece.id, BrokenStream(f"piece {expected} of the stream is missing; {piece.seq} came")
            )
        self._next_seq[piece.id] = expected + 1
        return piece

    def _keep(self, chunk: _Chunk) -> Event | None:
        parts = self._chunks.setdefault(chunk.id, [])
        if chunk.index != len(parts):
            return Failure(chunk.id, BrokenStream(f"part {len(parts)} of a long result is missing"))
        try:
            parts.append(base64.b64decode(chunk.data, validate=True))
        except binascii.Error as error:
            return Failure(chunk.id, BrokenStream(f"part {chunk.index} of a long result is damaged: {error}"))
        return None

    def _forget(self, request_id: int) -> list[bytes] | None:
        self._next_seq.pop(request_id, None)
        return self._chunks.pop(request_id, None)


def _joined(request_id: int, announcement: bytes, chunks: list[bytes]) -> Event:
    whole = b"".join(chunks)
    try:
        said = msgspec.json.decode(announcement, type=_Chunked)
    except msgspec.DecodeError as error:
        return Failure(request_id, BrokenStream(f"a long result ended without its checksum: {error}"))
    if said.chunks != len(chunks) or hashlib.sha256(whole).hexdigest() != said.sha256:
        return Failure(request_id, BrokenStream("a long result does not match its checksum"))
    return Answer(request_id, whole)


def _frame(message: dict[str, object]) -> bytes:
    return encode_frame(encode_value(message))
