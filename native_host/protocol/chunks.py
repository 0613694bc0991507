"""Results that are too long for a frame: cut into `$/chunk` notifications, and put together again."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Iterator, Sequence

from msgspec import Raw, Struct

from native_host.protocol.envelopes import encode_notification, encode_value
from native_host.protocol.limits import CHUNK_FRAME_BYTES
from native_host.protocol.messages import ChunkedResult, ChunkNotification


class Chunks(Struct, frozen=True):
    """A result on its way: `payloads` yields the notifications, `told` is what the answer says after them."""

    id: Raw
    result: bytes
    piece: int

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-len(self.result) // self.piece)

    def payloads(self) -> Iterator[bytes]:
        """The `$/chunk` notifications, in order; each is built when it is asked for."""
        for index in range(self.count):
            part = self.result[index * self.piece : (index + 1) * self.piece]
            data = b2a_base64(part, newline=False).decode()
            yield _notification(self.id, index, self.count, data)

    def told(self) -> bytes:
        """The JSON of the result that stands for this one in the answer."""
        import hashlib

        told = ChunkedResult(chunked=True, chunks=self.count, sha256=hashlib.sha256(self.result).hexdigest())
        return encode_value(told)


def cut(id_: Raw, result: bytes, max_frame: int) -> Chunks:
    """Cut the JSON of a result so that every notification fits `max_frame` bytes and 64 KiB."""
    most = len(result)
    room = min(max_frame, CHUNK_FRAME_BYTES) - len(_notification(id_, most, most, ""))
    return Chunks(id_, result, room // 4 * 3)


def join(data: Sequence[str], told: ChunkedResult) -> bytes:
    """The result's JSON from the `data` of its chunks, in order. Raises ValueError if it is not what was
    sent."""
    import base64
    import hashlib

    if len(data) != told.chunks:
        raise ValueError(f"{len(data)} chunks came of {told.chunks}")
    result = b"".join(base64.b64decode(part, validate=True) for part in data)
    if hashlib.sha256(result).hexdigest() != told.sha256:
        raise ValueError("the chunks do not have the hash that was told")
    return result


def _notification(id_: Raw, index: int, of: int, data: str) -> bytes:
    return encode_notification("$/chunk", ChunkNotification(id=id_, index=index, of=of, data=data))
