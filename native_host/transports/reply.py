"""Where answers go: straight to the peer, or first into the array that a batch is answered with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw, Struct

from native_host.protocol import envelopes
from native_host.protocol.errors import RpcError

_KEPT = 1024
"""How many characters of a message are kept where an error must be cut."""


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
        while len(payload) > max_frame and room:
            room //= 2
            payload = envelopes.encode_error(self.id, _shortened(self.error, room), self.frame)
        return payload


def _shortened(error: RpcError, room: int) -> RpcError:
    """The error with no text and no list longer than `room`; with 0 it fits whatever a peer may ask for."""
    cut = {name: _cut(value, room) for name, value in error.data.items()}
    message = error.message[: min(room, _KEPT)]
    return RpcError(error.kind, message, {**cut, "kind": error.kind, "shortened": True})


def _cut(value: object, room: int) -> object:
    if isinstance(value, str):
        return value[:room]
    if isinstance(value, list):
        return [_cut(member, room) for member in value[:room]]
    return value


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
