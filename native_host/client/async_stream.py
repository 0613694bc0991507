"""An answer as it comes, for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, TypeVar

from native_host.client.async_connection import AsyncCall
from native_host.client.reply import Reply
from native_host.client.session import Piece

R = TypeVar("R")
T = TypeVar("T")


class AsyncStream(Generic[R]):
    """Iterate it for the pieces of text; leaving the loop early cancels the answer, and so does cancelling
    the task.

    `text` is what has come so far; `await stream.result` the whole answer with its usage and timings.
    """

    def __init__(self, call: AsyncCall, reply: Reply[R], deadline: float | None) -> None:
        self._call = call
        self._reply = reply
        self._deadline = deadline
        self.cancelled = False

    @property
    def place(self) -> tuple[str, int] | None:
        """The stream's name and the next piece: what `resume` wants once the connection is lost. None before
        the first piece, and where `resumable` was not asked for.
        """
        return self._reply.place

    @property
    def text(self) -> str:
        """The pieces that have come, joined."""
        return self._reply.text

    @property
    async def result(self) -> R:
        """The final result; waits for it. Raises RpcError (kind `cancelled`) after a cancellation."""
        try:
            while not self._reply.done:
                self._reply.take(await self._call.next(self._deadline))
        finally:
            self.cancel()
        return self._reply.outcome()

    def __aiter__(self) -> AsyncIterator[str]:
        """Pieces of whole UTF-8 text. Raises RpcError, HostDied, HostTimeout."""
        return self._each(lambda piece: piece.text or None)

    def pieces(self) -> AsyncIterator[Piece]:
        """As iteration, with all that comes: `logprobs`, `reasoning`, `tool_calls`, `index` and `seq` too."""
        return self._each(lambda piece: piece)

    def cancel(self) -> None:
        """Ask the host to stop. Iteration then ends quietly; without effect when the answer is complete."""
        if not self._call.over:
            self.cancelled = True
            self._call.cancel()

    async def __aenter__(self) -> AsyncStream[R]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    async def _each(self, view: Callable[[Piece], T | None]) -> AsyncIterator[T]:
        try:
            while not self._reply.done:
                piece = self._reply.take(await self._call.next(self._deadline))
                seen = None if piece is None else view(piece)
                if seen is not None:
                    yield seen
            if self._reply.error is not None and not (self.cancelled and self._reply.was_cancelled):
                raise self._reply.error
        finally:
            self.cancel()
