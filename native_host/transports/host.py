"""What all connections of one host process share: whom they hand requests to, and what limits them
together."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from native_host.guard.handshake import AuthPolicy
from native_host.guard.limits import UsageLimits
from native_host.protocol.frames import ByteBudget
from native_host.protocol.messages import HealthResult, Params, PingResult
from native_host.settings import Settings
from native_host.store import MemoryStore, Store
from native_host.telemetry.logs import Log
from native_host.telemetry.metrics import Counters

if TYPE_CHECKING:
    from native_host.service.context import RequestContext


_MIB = 1 << 20

Problems = Callable[[bool], list[str]]
"""What is wrong; the argument is whether whoever hears it may know where files are."""


class Handler(Protocol):
    """Who answers requests once they are decoded and allowed. `service.Service` is one."""

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """The result, or an RpcError raised."""


class Host:
    """Shared by every connection of this process. `requests` counts those in flight; `loading` while the
    models are loaded that a daemon is to have from the start; `connections` are those that speak frames;
    `outlives_connections` where the host stays when a peer goes.
    """

    def __init__(
        self,
        handler: Handler,
        settings: Settings,
        policy: AuthPolicy | None = None,
        problems: Problems = lambda name_files: [],
        limits: UsageLimits | None = None,
        counters: Counters | None = None,
        working: Callable[[], bool] = lambda: False,
        store: Store | None = None,
    ) -> None:
        """`problems` says what is wrong behind the handler, for `health`; `limits` are counted before it;
        `working` whether the handler is busy with something that is no request; `store` is where transports
        keep what they remember between requests.
        """
        self.handler = handler
        self._problems = problems
        self.settings = settings
        self.policy = policy or AuthPolicy()
        self.limits = limits or UsageLimits(settings.rate_limit, settings.address_rate_limit)
        self.budget = ByteBudget(settings.max_held_input)
        self.log = Log("transports")
        self.counters = counters or Counters()
        self.store = store or MemoryStore(8 * _MIB, 20_000, 1 * _MIB)
        self.loading = False
        self.connections = 0
        self.outlives_connections = False
        self._working = working
        self._started = time.monotonic()
        self._number = 0

    @property
    def requests(self) -> int:
        """How many are in flight."""
        return self.counters.in_flight

    def next_number(self) -> int:
        """For names that are unique in this process."""
        self._number += 1
        return self._number

    @property
    def busy(self) -> bool:
        """Whether there is a connection, a request, or anything else that needs this process."""
        return bool(self.connections or self.requests or self.loading or self._working())

    @property
    def begun(self) -> int:
        """How many connections and requests there were. What differs from an earlier figure was busy."""
        return self._number

    def ping(self) -> PingResult:
        """The answer to `ping`."""
        return PingResult(pong=True, uptime_s=round(time.monotonic() - self._started, 3))

    def health(self, name_files: bool) -> HealthResult:
        """The answer to `health`: degraded while there is no room for more input, or something is wrong."""
        problems = self._problems(name_files)
        if self.budget.held > self.budget.limit * 9 // 10:
            problems.append("nearly all of the memory for input is in use")
        return HealthResult(
            status="degraded" if problems else "ok",
            uptime_s=round(time.monotonic() - self._started, 3),
            requests_in_flight=self.requests,
            problems=problems,
        )

    def incident(self, event: str, error: BaseException, **fields: object) -> str:
        """Log an error that nobody expected; return the id by which the log can be searched."""
        incident = os.urandom(8).hex()
        self.log.failure(event, error, incident=incident, **fields)
        return incident
