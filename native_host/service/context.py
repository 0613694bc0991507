"""What a handler may do while it works on a request, and what it keeps current for an early answer.

Implemented by `transports.connection`; handlers see only this.
"""

from __future__ import annotations

from typing import Protocol

from native_host.protocol.identity import Identity
from native_host.protocol.messages import Partial, TokenLogprob, ToolCallDelta


class RequestContext(Protocol):
    """One request in flight."""

    @property
    def request_id(self) -> str:
        """Unique in this process; in every log line about the request."""

    @property
    def identity(self) -> Identity:
        """Who asks."""

    @property
    def deadline(self) -> float | None:
        """When it is answered as timed out, by `time.monotonic`."""

    @property
    def partial(self) -> Partial:
        """Kept current by the handler."""

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for its answer any more because the peer's connection has ended
        or stalled."""

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        """Be the reader of a stream that outlives its connection, from this piece on: under this name it can
        be taken up again, and this is what it has produced so far. Raises unsupported where nothing outlives
        the connection.
        """

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        """Send the next `$/stream`; nothing is sent where there is nothing to tell. Waits while the peer does
        not read."""

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        """Send a `$/progress`. `fraction` is 0…1, or None where the end is not known; `counted` is bytes done
        and in all."""
