"""Windows, quotas and places, by a clock that only the test moves."""

from __future__ import annotations

import pytest

from native_host.guard.limits import Standing, UsageLimits
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity, Quotas

from .conftest import Clock

BOT = Identity("api_key", "bot", quotas=Quotas(requests_per_minute=3, tokens_per_day=100, concurrent=2))
PLAIN = Identity("api_key", "plain")
PARENT = Identity("secret", "parent")
LOCAL = Identity("local", "local")


async def refused(limits: UsageLimits, identity: Identity) -> RpcError:
    with pytest.raises(RpcError) as error:
        await limits.admit(identity)
    assert error.value.kind == "rate_limited"
    return error.value


async def test_the_window_moves(clock: Clock) -> None:
    limits = UsageLimits(clock=clock)
    assert await limits.admit(BOT) == Standing(limit=3, remaining=2, reset_s=60)
    clock.now += 20
    assert await limits.admit(BOT) == Standing(limit=3, remaining=1, reset_s=40)
    clock.now += 20
    assert await limits.admit(BOT) == Standing(limit=3, remaining=0, reset_s=20)
    error = await refused(limits, BOT)
    assert error.data == {"kind": "rate_limited", "retry_after_s": 20, "limit": 3}
    assert error.message == "3 requests a minute are allowed; try again in 20 s"
    clock.now += 19.9
    await refused(limits, BOT)
    clock.now += 0.2  # the first has left the window, the second has not: no doubling at a border
    assert await limits.admit(BOT) == Standing(limit=3, remaining=0, reset_s=19.9)
    await refused(limits, BOT)


async def test_peers_are_counted_apart(clock: Clock) -> None:
    limits = UsageLimits(per_minute=1, clock=clock)
    await limits.admit(PLAIN)
    await refused(limits, PLAIN)
    await limits.admit(Identity("api_key", "another"))
    await limits.admit(Identity("origin", "plain"))
    await limits.admit(BOT)
    await limits.admit(BOT)  # its own limit stands above the general one


async def test_the_users_own_processes_and_the_parent_have_no_general_limit(clock: Clock) -> None:
    limits = UsageLimits(per_minute=1, clock=clock)
    for identity in (LOCAL, PARENT):
        for _ in range(5):
            assert await limits.admit(identity) is None


async def test_addresses_are_counted_whoever_asks(clock: Clock) -> None:
    limits = UsageLimits(per_address=2, clock=clock)
    for _ in range(2):
        await limits.admit_address("192.0.2.1")
    with pytest.raises(RpcError, match="2 requests a minute"):
        await limits.admit_address("192.0.2.1")
    await limits.admit_address("192.0.2.2")
    assert await limits.admit_stranger("192.0.2.1") is None


async def test_strangers_have_the_general_limit_by_address(clock: Clock) -> None:
    limits = UsageLimits(per_minute=1, clock=clock)
    await limits.admit_stranger("192.0.2.1")
    with pytest.raises(RpcError, match="1 requests a minute"):
        await limits.admit_stranger("192.0.2.1")
    assert await limits.admit_address("192.0.2.1") is None


async def test_tokens_of_a_day_are_used_up_and_come_again(clock: Clock) -> None:
    limits = UsageLimits(clock=clock)
    await limits.check_tokens(BOT)
    await limits.count_tokens(BOT, 60)
    await limits.check_tokens(BOT)
    await limits.count_tokens(BOT, 60)  # what runs is not cut off
    with pytest.raises(RpcError) as error:
        await limits.check_tokens(BOT)
    assert error.value.kind == "quota_exceeded"
    assert error.value.data["retry_after_s"] == 86400
    clock.now += 86399
    with pytest.raises(RpcError, match="new ones in 1 s"):
        await limits.check_tokens(BOT)
    clock.now += 2
    await limits.check_tokens(BOT)


async def test_without_a_quota_nothing_is_counted(clock: Clock) -> None:
    limits = UsageLimits(clock=clock)
    await limits.count_tokens(PLAIN, 10**9)
    await limits.check_tokens(PLAIN)


def test_so_many_at_once(clock: Clock) -> None:
    limits = UsageLimits(clock=clock)
    with limits.running(BOT):
        with limits.running(BOT):
            with pytest.raises(RpcError, match="2 requests at once") as error, limits.running(BOT):
                pass
            assert error.value.kind == "rate_limited"
            with limits.running(PLAIN), limits.running(PLAIN), limits.running(PLAIN):
                pass
        with limits.running(BOT):
            pass


def test_a_place_is_free_again_after_a_failure(clock: Clock) -> None:
    limits = UsageLimits(clock=clock)
    for _ in range(5):
        with pytest.raises(KeyError), limits.running(BOT):
            raise KeyError
