"""How often a peer may ask, how many tokens it may use in a day, and how much at once.

Counted by the library `limits`, which is loaded when there is something to count. Where the counts are kept
is an address, such as `async+memory://`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from native_host.protocol import errors
from native_host.protocol.identity import Identity

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

MINUTE_S = 60
DAY_S = 24 * 60 * 60
MEMORY = "async+memory://"

LIMITED_KINDS = ("api_key", "origin", "telegram")
"""Whom the general limit is for."""

_BUSY_RETRY_S = 1.0
_LEAST_RETRY_S = 1.0


class Standing(msgspec.Struct, frozen=True):
    """How a limit on requests stands: how many in `window_s`, how many are left, and after how many seconds
    one more is.
    """

    limit: int
    remaining: int
    reset_s: float
    window_s: int = MINUTE_S


class UsageLimits:
    """The limits of all peers of a process. `per_minute` holds for each key, extension and chat that has no
    limit of its own, and for each network address that shows no key; `per_address` for every address, whoever
    asks from there. The user's own processes and the parent that knows the secret have none. `clock` is the
    one by which the storage counts: seconds since the epoch.
    """

    def __init__(
        self,
        per_minute: int | None = None,
        per_address: int | None = None,
        storage: str = MEMORY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._per_minute = per_minute
        self._per_address = per_address
        self._storage = storage
        self._clock = clock
        self._counters: _Counters | None = None
        self._running: Counter[str] = Counter()

    async def admit_address(self, address: str) -> Standing | None:
        """Count a request from a network address, whoever asks. Raises rate_limited."""
        limit = self._per_address
        return None if limit is None else await self._hit(limit, f"address:{address}")

    async def admit_stranger(self, address: str) -> Standing | None:
        """Count a request from an address that shows nothing, or something wrong. Raises rate_limited."""
        limit = self._per_minute
        return None if limit is None else await self._hit(limit, f"stranger:{address}")

    async def admit(self, identity: Identity) -> Standing | None:
        """Count a request of this peer; None where it has no limit. Raises rate_limited."""
        limit = identity.quotas.requests_per_minute
        if limit is None and identity.kind in LIMITED_KINDS:
            limit = self._per_minute
        return None if limit is None else await self._hit(limit, _name(identity))

    @contextlib.contextmanager
    def running(self, identity: Identity) -> Iterator[None]:
        """One request, as long as it runs. Raises rate_limited where too many do already."""
        limit, name = identity.quotas.concurrent, _name(identity)
        if limit is None:
            yield
            return
        if self._running[name] >= limit:
            raise errors.rate_limited(_BUSY_RETRY_S, f"{limit} requests at once are allowed, and run already")
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]

    async def check_tokens(self, identity: Identity) -> None:
        """Raise quota_exceeded where the peer has used its tokens of the day."""
        limit = identity.quotas.tokens_per_day
        if limit is None:
            return
        stats = await self._counting().tokens.get_window_stats(_day(limit), _name(identity))
        if stats.remaining <= 0:
            raise errors.quota_exceeded(self._seconds_until(stats.reset_time))

    async def count_tokens(self, identity: Identity, tokens: int) -> None:
        """The peer has used so many tokens."""
        limit = identity.quotas.tokens_per_day
        if limit is not None and tokens:
            await self._counting().tokens.hit(_day(limit), _name(identity), cost=tokens)

    async def _hit(self, limit: int, name: str) -> Standing:
        from limits import RateLimitItemPerMinute

        item = RateLimitItemPerMinute(limit)
        requests = self._counting().requests
        admitted = await requests.hit(item, name)
        stats = await requests.get_window_stats(item, name)
        reset_s = self._seconds_until(stats.reset_time)
        if not admitted:
            raise errors.rate_limited(reset_s, f"{limit} requests a minute are allowed", limit)
        return Standing(limit, max(stats.remaining, 0), reset_s)

    def _seconds_until(self, moment: float) -> float:
        return round(max(moment - self._clock(), _LEAST_RETRY_S), 1)

    def _counting(self) -> _Counters:
        if self._counters is None:
            self._counters = _Counters(self._storage)
        return self._counters


class _Counters:
    """The library's two ways to count, on one storage."""

    requests: MovingWindowRateLimiter
    tokens: FixedWindowRateLimiter

    def __init__(self, storage: str) -> None:
        try:
            from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter
            from limits.storage import storage_from_string
        except ImportError:
            raise errors.unsupported("rate limits", "native-host[gateway]") from None
        kept = storage_from_string(storage)
        self.requests = MovingWindowRateLimiter(kept)
        self.tokens = FixedWindowRateLimiter(kept)


def _name(identity: Identity) -> str:
    return f"{identity.kind}:{identity.name}"


def _day(limit: int) -> RateLimitItem:
    from limits import RateLimitItemPerDay

    return RateLimitItemPerDay(limit)
