"""Where answers go: straight to the peer, or first into the array that a batch is answered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw, Struct

from native_host.protocol import envelopes
from native_host.protocol.errors import RpcError

_KEPT = 1024
"""Bytes of an error answer that are kept for everything but the partial text."""


class Answer(Struct, frozen=True):
    """The one answer to a call: the JSON of its `result`, or an `error`. `frame` is where the call came
    from."""

    id: Raw
    frame: int
    result: bytes | None = None
    error: RpcError | None = None

    def envelope(self, max_frame: int) -> bytes:
        """The answer as it is sent. An error is cut to fit, a result is not: that is what chunks are for."""
        if self.error is None:
            return envelopes.encode_result(self.id, self.result or b"null")
        payload = envelopes.encode_error(self.id, self.error, self.frame)
        room = max_frame
        while len(payload) > max_frame:
            room //= 2
            payload = envelopes.encode_error(self.id, _shortened(self.error, room), self.frame)
        return payload


def _shortened(error: RpcError, room: int) -> RpcError:
    cut = {name: value[:room] if isinstance(value, str) else value for name, value in error.data.items()}
    return RpcError(error.kind, error.message[:_KEPT], {**cut, "kind": error.kind, "shortened": True})


class Reply(Protocol):
    """Takes the one answer to a call."""

    def give(self, answer: Answer) -> None:
        """Take it."""

    def leave(self) -> None:
        """The answer goes another way: wait for it no longer."""


class BatchReply:
    """Collects the answers of a batch's members and hands them over together when the last has come."""

    def __init__(self, members: int, done: Callable[[list[Answer]], None]) -> None:
        self._missing = members
        self._done = done
        self._answers: list[Answer] = []

    def give(self, answer: Answer) -> None:
        """Keep it."""
        self._answers.append(answer)
        self.leave()

    def leave(self) -> None:
        """One member less to wait for."""
        self._missing -= 1
        if not self._missing:
            self._done(self._answers)
