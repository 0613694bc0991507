"""One request's answer as a backend written in Python makes it: its events, its usage, its timings."""

from __future__ import annotations

import time
from typing import Literal

from native_host.protocol.errors import RpcError
from native_host.workers.backends.answer_text import AnswerText
from native_host.workers.backends.outbox import Outbox
from native_host.workers.messages import (
    Failed,
    Finished,
    GenerateRequest,
    Piece,
    Started,
    Timings,
    TokenInfo,
    Usage,
    wire_error,
)

Reason = Literal["stop", "length", "cancelled"]


class Answer:
    """Tells an outbox what becomes of one request. Only one thread may use it at a time.

    `prompt_tokens` and `cached_tokens` may be corrected until `finish`, by backends that learn them late.
    """

    def __init__(self, request_id: int, request: GenerateRequest, outbox: Outbox) -> None:
        self.request_id = request_id
        self.request = request
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.completion_tokens = 0
        self._outbox = outbox
        self._text = AnswerText(request.stop)
        self._unreported: list[TokenInfo] = []
        self._submitted = time.monotonic()
        self._started: float | None = None
        self._first: float | None = None
        self._last: float | None = None

    @property
    def started(self) -> bool:
        """Whether it has left the queue."""
        return self._started is not None

    def start(self) -> None:
        """It leaves the queue."""
        self._started = time.monotonic()
        queue_ms = (self._started - self._submitted) * 1000
        self._outbox.push(Started(self.request_id, self.prompt_tokens, self.cached_tokens, queue_ms))

    def take(self, token: TokenInfo, text: bytes | str) -> bool:
        """Another token and what it adds to the text. Answers whether that completes a stop string."""
        self._last = time.monotonic()
        self._first = self._first or self._last
        self.completion_tokens += 1
        self._unreported.append(token)
        settled = self._text.push(text)
        if settled:
            self._report(settled)
        return self._text.stopped

    def finish(self, reason: Reason) -> None:
        """The end: tells what was held back, unless a stop string ended the answer or nobody wants it."""
        text = "" if reason == "cancelled" else self._text.finish()
        if text or (self._unreported and reason != "cancelled"):
            self._report(text)
        if self._text.stopped and reason == "length":
            reason = "stop"
        usage = Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens)
        self._outbox.push(Finished(self.request_id, reason, usage, self._timings(), self.request.seed))

    def fail(self, error: RpcError) -> None:
        """The end by an error."""
        self._outbox.push(Failed(self.request_id, wire_error(error)))

    def _report(self, text: str) -> None:
        self._outbox.push(Piece(self.request_id, text, self._unreported))
        self._unreported = []

    def _timings(self) -> Timings:
        started = self._started if self._started is not None else time.monotonic()
        queue_ms = (started - self._submitted) * 1000
        if self._first is None or self._last is None:
            return Timings(queue_ms)
        return Timings(
            queue_ms,
            (self._first - self._submitted) * 1000,
            _rate(self.prompt_tokens - self.cached_tokens, self._first - started),
            _rate(self.completion_tokens - 1, self._last - self._first),
        )


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
