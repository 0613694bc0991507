"""An answer as it comes, for threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

from native_host.client.connection import Call
from native_host.client.reply import Reply
from native_host.client.session import Piece

R = TypeVar("R")
T = TypeVar("T")


class Stream(Generic[R]):
    """Iterate it for the pieces of text; leaving the loop early cancels the answer.

    `text` is what has come so far, `result` the whole answer with its usage and timings. It belongs to one
    thread; only `cancel` may be called from others.
    """

    def __init__(self, call: Call, reply: Reply[R], deadline: float | None) -> None:
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
    def result(self) -> R:
        """The final result; waits for it. Raises RpcError (kind `cancelled`) after a cancellation."""
        try:
            while not self._reply.done:
                self._reply.take(self._call.next(self._deadline))
        finally:
            self.cancel()
        return self._reply.outcome()

    def __iter__(self) -> Iterator[str]:
        """Pieces of whole UTF-8 text. Raises RpcError, HostDied, HostTimeout."""
        return self._each(lambda piece: piece.text or None)

    def pieces(self) -> Iterator[Piece]:
        """As iteration, with all that comes: `logprobs`, `reasoning`, `tool_calls`, `index` and `seq` too."""
        return self._each(lambda piece: piece)

    def cancel(self) -> None:
        """Ask the host to stop. Iteration then ends quietly; without effect when the answer is complete."""
        if not self._call.over:
            self.cancelled = True
            self._call.cancel()

    def __enter__(self) -> Stream[R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def _each(self, view: Callable[[Piece], T | None]) -> Iterator[T]:
        # One generator and no more: when a loop over it is left, `finally` runs at once.
        try:
            while not self._reply.done:
                piece = self._reply.take(self._call.next(self._deadline))
                seen = None if piece is None else view(piece)
                if seen is not None:
                    yield seen
            if self._reply.error is not None and not (self.cancelled and self._reply.was_cancelled):
                raise self._reply.error
        finally:
            self.cancel()
