"""A request's context that keeps what a handler sends."""

from __future__ import annotations

import asyncio

from native_host.protocol.identity import Identity
from native_host.protocol.messages import Partial, TokenLogprob, ToolCallDelta


class RecordingContext:
    """Keeps what a handler sends; `first` is set with the first piece of text."""

    def __init__(self) -> None:
        self.request_id = "test-1"
        self.identity = Identity("local", "test")
        self.deadline: float | None = None
        self.partial = Partial()
        self.pieces: list[tuple[str, int | None]] = []
        self.fractions: list[float | None] = []
        self.first = asyncio.Event()
        self.abandoned = False
        self.streams: list[tuple[str, int]] = []

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        self.streams.append((stream, from_seq))
        self.partial = partial

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        self.pieces.append((text, index))
        self.first.set()

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        self.fractions.append(fraction)
