"""One request in flight, whatever carries it: who asks, until when, and what it has produced so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from native_host.protocol import errors
from native_host.protocol.identity import Identity
from native_host.protocol.messages import Partial, Usage

if TYPE_CHECKING:
    from native_host.transports.host import Host


class InFlight:
    """`answered` once its answer has been given, by whomever; `abandoned` if its connection has ended or
    stalled. `connection` names what it came by.
    """

    def __init__(self, host: Host, identity: Identity, method: str, connection: str) -> None:
        self.request_id = f"{connection}-{host.next_number()}"
        self.identity = identity
        self.method = method
        self.partial = Partial()
        self.answered = False
        self.abandoned = False
        self.deadline: float | None = None
        self.started = time.monotonic()
        self._host = host
        self._connection = connection
        self._timer: asyncio.TimerHandle | None = None
        self._streaming = False

    def begin(self, timeout_s: float | None, on_timeout: Callable[[], None], streaming: bool) -> None:
        """Count it, and be told when its time is over: its own, else what the settings give to all."""
        self._streaming = streaming
        self._host.counters.begun(streaming)
        seconds = timeout_s or self._host.settings.request_timeout_s
        if seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, on_timeout)
            self.deadline = time.monotonic() + seconds

    def end(self, outcome: str) -> None:
        """It has its answer: `ok`, or the kind of its error."""
        self.answered = True
        if self._timer is not None:
            self._timer.cancel()
        self._count(outcome)
        self._host.log.info(
            "request.done",
            request_id=self.request_id,
            connection=self._connection,
            method=self.method,
            outcome=outcome,
            duration_ms=self.duration_ms,
        )

    def _count(self, outcome: str) -> None:
        counters, usage, model = self._host.counters, self.partial.usage, self.partial.model
        # Only keys' names are the operator's own; an origin could be anything.
        whose = f"key:{self.identity.name}" if self.identity.kind == "api_key" else self.identity.kind
        counters.ended(self.method, outcome, time.monotonic() - self.started, whose, self._streaming)
        if usage is not None and model is not None:
            before, self.partial.measured = self.partial.measured, usage
            counters.used(model, whose, _fresh(usage, before))

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        """See `RequestContext`."""
        raise errors.unsupported("resumable streams here; on the socket of `native-host serve` they are")

    @property
    def duration_ms(self) -> float:
        """Since the request was read."""
        return round((time.monotonic() - self.started) * 1000, 3)


def _fresh(usage: Usage, before: Usage | None) -> dict[str, int]:
    """Tokens by kind that were not counted with an earlier reader of the same stream."""
    counted = before or Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0)
    return {
        "prompt": max(0, usage.prompt_tokens - counted.prompt_tokens),
        "completion": max(0, usage.completion_tokens - counted.completion_tokens),
        "cached": max(0, usage.cached_tokens - counted.cached_tokens),
    }
