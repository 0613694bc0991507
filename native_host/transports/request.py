"""One request in flight: what its handler sees of it (`service.context.RequestContext`), and its
bookkeeping."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from native_host.protocol.deltas import parts_of
from native_host.protocol.envelopes import Call, encode_notification
from native_host.protocol.identity import Identity
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.protocol.messages import (
    Partial,
    ProgressNotification,
    StreamNotification,
    TokenLogprob,
    ToolCallDelta,
)
from native_host.transports.in_flight import InFlight
from native_host.transports.outlet import Outlet
from native_host.transports.reply import Reply

if TYPE_CHECKING:
    from msgspec import Raw

    from native_host.transports.host import Host

_BYTES_A_CHARACTER = 16
"""At most, in JSON within JSON, with room for what stands around it: a frame has 4,096 bytes at least."""


class Request(InFlight):
    """`waiting` while it waits for the peer to read."""

    def __init__(
        self,
        host: Host,
        connection: str,
        identity: Identity,
        call: Call,
        frame: int,
        reply: Reply,
        outlet: Outlet,
    ) -> None:
        super().__init__(host, identity, call.method, connection)
        assert call.id is not None
        self.id: Raw = call.id
        self.key = call.key
        self.frame = frame
        self.reply = reply
        self.max_frame = MAX_FRAME_BYTES
        self.waiting = False
        self.task: asyncio.Task[None] | None = None
        self._outlet = outlet
        self._seq = 0
        self._name: str | UnsetType = UNSET

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        """See `RequestContext`."""
        if not self._host.outlives_connections:
            super().take_up(stream, from_seq, partial)
        self._name, self._seq, self.partial = stream, from_seq, partial

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        """Send the next `$/stream`; an empty one is not sent. Waits while the peer does not read."""
        if not (text or logprobs or reasoning or tool_calls):
            return
        await self.room()
        notice = StreamNotification(
            id=self.id,
            seq=self._seq,
            text=text,
            index=UNSET if index is None else index,
            logprobs=UNSET if logprobs is None else logprobs,
            stream=self._name,
            reasoning=reasoning or UNSET,
            tool_calls=tool_calls or UNSET,
        )
        payload = encode_notification("$/stream", notice)
        tokens = len(logprobs or ()) // 2
        if len(payload) > self.max_frame and (reasoning or tool_calls):
            await self._stream_apart(text, index, logprobs, reasoning, tool_calls or [])
            return
        if len(payload) > self.max_frame and (len(text) > 1 or tokens):
            middle = len(text) // 2
            await self.stream(text[:middle], index=index, logprobs=logprobs and logprobs[:tokens])
            await self.stream(text[middle:], index=index, logprobs=logprobs and logprobs[tokens:])
            return
        self._seq += 1
        self._name = UNSET
        self._outlet.send(payload)

    async def _stream_apart(
        self,
        text: str,
        index: int | None,
        logprobs: list[TokenLogprob] | None,
        reasoning: str,
        tool_calls: list[ToolCallDelta],
    ) -> None:
        """Send what is too long for one frame in several, none of which holds more than one kind of text."""
        most = max(1, self.max_frame // _BYTES_A_CHARACTER)
        for start in range(0, len(reasoning), most):
            await self.stream("", index=index, reasoning=reasoning[start : start + most])
        await self.stream(text, index=index, logprobs=logprobs)
        for call in tool_calls:
            for part in parts_of(call, most):
                await self.stream("", index=index, tool_calls=[part])

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
