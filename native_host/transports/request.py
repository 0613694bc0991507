"""One request in flight: what its handler sees of it (`service.context.RequestContext`), and its
bookkeeping."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec import UNSET

from native_host.protocol.envelopes import Call, encode_notification
from native_host.protocol.identity import Identity
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.protocol.messages import Partial, ProgressNotification, StreamNotification, TokenLogprob
from native_host.transports.outlet import Outlet
from native_host.transports.reply import Reply

if TYPE_CHECKING:
    from msgspec import Raw


class Request:
    """`waiting` while it waits for the peer to read; `answered` once its answer has been given, by
    whomever."""

    def __init__(
        self, request_id: str, identity: Identity, call: Call, frame: int, reply: Reply, outlet: Outlet
    ) -> None:
        assert call.id is not None
        self.request_id = request_id
        self.identity = identity
        self.partial = Partial()
        self.id: Raw = call.id
        self.key = call.key
        self.method = call.method
        self.frame = frame
        self.reply = reply
        self.max_frame = MAX_FRAME_BYTES
        self.waiting = False
        self.answered = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.deadline: float | None = None
        self.started = time.monotonic()
        self._outlet = outlet
        self._seq = 0

    async def stream(
        self, text: str, *, index: int | None = None, logprobs: list[TokenLogprob] | None = None
    ) -> None:
        """Send the next `$/stream`; an empty one is not sent. Waits while the peer does not read."""
        if not text and not logprobs:
            return
        await self.room()
        notice = StreamNotification(
            id=self.id,
            seq=self._seq,
            text=text,
            index=UNSET if index is None else index,
            logprobs=UNSET if logprobs is None else logprobs,
        )
        payload = encode_notification("$/stream", notice)
        tokens = len(logprobs or ()) // 2
        if len(payload) > self.max_frame and (len(text) > 1 or tokens):
            middle = len(text) // 2
            await self.stream(text[:middle], index=index, logprobs=logprobs and logprobs[:tokens])
            await self.stream(text[middle:], index=index, logprobs=logprobs and logprobs[tokens:])
            return
        self._seq += 1
        self._outlet.send(payload)

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        """Send a `$/progress`."""
        await self.room()
        done, total = counted or (UNSET, UNSET)
        notice = ProgressNotification(
            id=self.id, stage=stage, fraction=fraction, message=message, done_bytes=done, total_bytes=total
        )
        self._outlet.send(encode_notification("$/progress", notice))

    async def room(self) -> None:
        """Wait until the peer has read enough. Nothing may be sent for a request that has its answer."""
        self.waiting = True
        try:
            await self._outlet.room()
        finally:
            self.waiting = False
        if self.answered:
            raise asyncio.CancelledError

    @property
    def duration_ms(self) -> float:
        """Since the request was read."""
        return round((time.monotonic() - self.started) * 1000, 3)
