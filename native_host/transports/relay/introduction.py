"""The beginning of a browser's conversation with the daemon, in which the relay says whose it is.

Until the daemon has taken an `initialize`, the relay reads the browser's frames, by the code that the daemon
reads them with, and puts the browser's origin and frame limit into each `initialize` that it finds, also in a
batch. Only one that succeeds ends the introduction, and the daemon alone knows which: its answer is waited
for, and nothing more is read from the browser meanwhile. Afterwards no frame can change who the peer is, and
bytes pass as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Raw

from native_host.protocol import envelopes
from native_host.protocol.envelopes import BadCall, Batch, Call
from native_host.protocol.frames import HEADER, Frame, FrameDecoder, encode_frame
from native_host.protocol.limits import MIN_PEER_FRAME_BYTES
from native_host.transports.browser import BrowserParent

MOST_BYTES = 1 << 20
"""The longest frame that is held before there is a session; none that means anything then comes near it."""


class Introduction:
    """`over` once bytes need not be looked at any more; `waiting` while nothing may be read from the browser,
    because the daemon is to answer first.
    """

    def __init__(self, parent: BrowserParent) -> None:
        self.over = False
        self.waiting = False
        self._parent = parent
        self._raw = bytearray()
        self._skipping = 0
        self._asked: set[bytes] = set()
        self._answers = FrameDecoder(MOST_BYTES)

    @property
    def holds(self) -> bool:
        """Whether something may go that was held back."""
        return bool(self._raw) and not self.waiting

    def to_daemon(self, data: bytes) -> bytes:
        """What the daemon gets of the browser's next bytes, and of those that were held before."""
        if self.over and not self._raw and not self._skipping:
            return data
        self._raw += data
        if not self.over:
            return b"".join(self._frames())
        self._skip()  # the session may begin in the midst of a frame that is not held
        held, self._raw = bytes(self._raw), bytearray()
        return held

    def from_daemon(self, data: bytes) -> None:
        """Look at what the daemon says; the browser gets it as it is."""
        for cut in self._answers.feed(data):
            if isinstance(cut, Frame) and not self.over:
                for answer in _answers_in(bytes(cut.payload)):
                    self._hear(answer)

    def _frames(self) -> Iterator[bytes]:
        """The whole frames that may go now."""
        while not self.waiting:
            self._skip()
            if self._skipping or len(self._raw) < HEADER.size:
                return
            (length,) = HEADER.unpack_from(self._raw)
            if length > MOST_BYTES:
                self._skipping = HEADER.size + length
                yield encode_frame(_too_early(length))
                continue
            end = HEADER.size + length
            if len(self._raw) < end:
                return
            frame = bytes(self._raw[:end])
            del self._raw[:end]
            yield self._introduced(frame)

    def _skip(self) -> None:
        count = min(self._skipping, len(self._raw))
        del self._raw[:count]
        self._skipping -= count

    def _introduced(self, frame: bytes) -> bytes:
        """The frame itself, unless an `initialize` is in it."""
        payload = frame[HEADER.size :]
        found = envelopes.decode(payload)
        if not isinstance(found, Batch):
            return encode_frame(self._filled_in(found)) if _initializes(found) else frame
        if not any(map(_initializes, found.members)):
            return frame
        written = msgspec.json.decode(payload, type=list[Raw])
        members = [
            self._filled_in(call) if _initializes(call) else bytes(raw)
            for call, raw in zip(found.members, written, strict=True)
        ]
        return encode_frame(envelopes.encode_batch(members))

    def _filled_in(self, call: Call | BadCall) -> bytes:
        """An `initialize` with the browser's origin and frame limit, whatever it said about them."""
        assert isinstance(call, Call)
        if call.id is not None:
            self._asked.add(bytes(call.id))
            self.waiting = True
        id_ = b"" if call.id is None else b',"id":%b' % bytes(call.id)
        params = self._with_origin(bytes(call.params))
        return b'{"jsonrpc":"2.0"%b,"method":"initialize","params":%b}' % (id_, params)

    def _with_origin(self, params: bytes) -> bytes:
        try:
            members = msgspec.json.decode(params, type=dict[str, Raw])
            client = msgspec.json.decode(members["client"], type=dict[str, Raw])
        except (msgspec.DecodeError, KeyError):
            return params or b"{}"  # nobody to introduce: the daemon will refuse it
        client["origin"] = Raw(msgspec.json.encode(self._parent.origin))
        client["max_frame_in"] = Raw(b"%d" % self._max_frame(client.get("max_frame_in")))
        members["client"] = Raw(msgspec.json.encode(client))
        return msgspec.json.encode(members)

    def _max_frame(self, said: Raw | None) -> int:
        """The browser's limit, or a smaller one that the extension asks for."""
        most = self._parent.max_frame_out
        try:
            asked = msgspec.json.decode(said or b"null", type=int)
        except msgspec.DecodeError:
            return most
        return min(asked, most) if asked >= MIN_PEER_FRAME_BYTES else most

    def _hear(self, answer: _Answer) -> None:
        if answer.opens:
            self.over, self.waiting = True, False
        elif bytes(answer.error) and bytes(answer.id) in (*self._asked, b"null"):
            self._asked.discard(bytes(answer.id))
            self.waiting = False


class _Opening(msgspec.Struct):
    """The result of `initialize`; of what else is answered before it, nothing has this member."""

    protocol_version: str


class _Answer(msgspec.Struct):
    id: Raw = Raw(b"null")
    result: Raw = Raw(b"null")
    error: Raw = Raw(b"")

    @property
    def opens(self) -> bool:
        """Whether there is a session from now on."""
        try:
            msgspec.json.decode(self.result, type=_Opening)
        except msgspec.DecodeError:
            return False
        return True


def _answers_in(payload: bytes) -> list[_Answer]:
    try:
        if payload.startswith(b"["):
            return msgspec.json.decode(payload, type=list[_Answer])
        return [msgspec.json.decode(payload, type=_Answer)]
    except msgspec.DecodeError:
        return []


def _initializes(call: Call | BadCall) -> bool:
    return isinstance(call, Call) and call.method == "initialize"


def _too_early(length: int) -> bytes:
    """What stands for a frame that is not held: it is refused as the frame would be, and takes its number."""
    method = msgspec.json.encode(f"what a frame of {length} bytes asks for")
    return b'{"jsonrpc":"2.0","id":null,"method":%b}' % method
