"""What has come of one request so far; both faces feed it with events."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from native_host.client.asking import OnProgress, Question
from native_host.client.errors import BrokenStream
from native_host.client.session import Event, Failure, Piece, Progress
from native_host.protocol.errors import RpcError

R = TypeVar("R")


class Reply(Generic[R]):
    """Collects pieces until the answer or an error has come; `done` says that nothing more will."""

    def __init__(self, question: Question[R], on_progress: OnProgress) -> None:
        self._question = question
        self._on_progress = on_progress
        self._parts: list[str] = []
        self._result: R | UnsetType = UNSET
        self._name: str | None = None
        self._next_seq = 0
        self.error: Exception | None = None
        self.done = False

    @property
    def text(self) -> str:
        """The pieces that have come, joined."""
        return "".join(self._parts)

    @property
    def place(self) -> tuple[str, int] | None:
        """The stream's name and the next piece, where it can be taken up again."""
        return None if self._name is None else (self._name, self._next_seq)

    @property
    def was_cancelled(self) -> bool:
        """Whether the host gave up because it was asked to."""
        return isinstance(self.error, RpcError) and self.error.kind == "cancelled"

    def take(self, event: Event) -> Piece | None:
        """Take one event, and give it back where it is a piece of the answer."""
        if isinstance(event, Piece):
            self._parts.append(event.text)
            self._name = event.stream or self._name
            self._next_seq = event.seq + 1
            return event
        if isinstance(event, Progress):
            self._on_progress(event)
            return None
        self.done = True
        if isinstance(event, Failure):
            self.error = event.error
            return None
        try:
            self._result = self._question.read(event.result)
        except msgspec.DecodeError as error:
            self.error = BrokenStream(
                f"the host's answer to {self._question.method} is not of its type: {error}"
            )
        return None

    def outcome(self) -> R:
        """The result of a reply that is done; raises the error where there was one."""
        if self.error is not None:
            raise self.error
        assert self._result is not UNSET, "asked before the reply was done"
        return self._result
