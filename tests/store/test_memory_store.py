"""The store in memory: what it promises as a `Store`, and its bounds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from native_host.store import MemoryStore, Store, TooLarge


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def store_of(clock: Clock, max_bytes: int = 1 << 20, entries: int = 100, value: int = 1 << 20) -> MemoryStore:
    return MemoryStore(max_bytes, entries, value, clock)


@pytest.fixture
def store(clock: Clock) -> Store:
    return store_of(clock)


async def test_a_value_comes_back_until_it_is_deleted(store: Store) -> None:
    assert await store.get("ann", "a") is None
    await store.set("ann", "a", b"one")
    await store.set("ann", "a", b"two")
    assert await store.get("ann", "a") == b"two"
    assert await store.delete("ann", "a")
    assert not await store.delete("ann", "a")
    assert await store.get("ann", "a") is None


async def test_owners_see_nothing_of_each_other(store: Store) -> None:
    await store.set("ann", "a", b"hers")
    assert await store.get("bob", "a") is None
    assert not await store.append("bob", "a", b"x", at=4)
    assert not await store.delete("bob", "a")
    assert not await store.expire("bob", "a", 1.0)
    assert await store.keys("bob") == []
    assert await store.get("ann", "a") == b"hers"


async def test_bytes_are_appended_only_where_the_value_is_as_the_caller_knows_it(store: Store) -> None:
    assert not await store.append("ann", "a", b"x", at=0)
    await store.set("ann", "a", b"one ")
    assert await store.append("ann", "a", b"two", at=4)
    assert not await store.append("ann", "a", b"two", at=4)
    assert await store.get("ann", "a") == b"one two"


async def test_what_was_handed_out_does_not_change(store: Store) -> None:
    await store.set("ann", "a", b"one")
    before = await store.get("ann", "a")
    await store.append("ann", "a", b" two", at=3)
    assert before == b"one"


async def test_time_runs_out_and_can_be_given_anew(store: Store, clock: Clock) -> None:
    await store.set("ann", "a", b"short", ttl_s=10)
    await store.set("ann", "b", b"long", ttl_s=10)
    clock.now += 9
    assert await store.expire("ann", "b", 10)
    assert await store.append("ann", "b", b"er", at=4)  # which gives no time
    clock.now += 1
    assert await store.get("ann", "a") is None
    assert await store.keys("ann") == ["b"]
    clock.now += 9
    assert await store.get("ann", "b") is None
    assert not await store.expire("ann", "b", 10)


async def test_the_least_recently_used_goes_first(clock: Clock) -> None:
    store = store_of(clock, entries=3)
    for key in "abc":
        await store.set("ann", key, b"x")
    await store.get("ann", "a")
    await store.set("ann", "d", b"x")
    assert await store.keys("ann") == ["c", "a", "d"]


async def test_what_has_expired_makes_room_before_anything_else(clock: Clock) -> None:
    store = store_of(clock, entries=2)
    await store.set("ann", "a", b"x")
    await store.set("ann", "b", b"x", ttl_s=1)
    clock.now += 1
    await store.set("ann", "c", b"x")
    assert await store.keys("ann") == ["a", "c"]


async def test_a_greedy_owner_loses_its_own(clock: Clock) -> None:
    store = store_of(clock, max_bytes=10_000)
    await store.set("bob", "small", b"x" * 100)
    for number in range(50):
        await store.set("ann", f"{number}", b"x" * 1000)
    assert await store.get("bob", "small") == b"x" * 100
    kept = await store.keys("ann")
    assert kept == [f"{number}" for number in range(50 - len(kept), 50)]


async def test_who_holds_the_most_entries_loses_one_where_there_are_too_many(clock: Clock) -> None:
    store = store_of(clock, entries=5)
    await store.set("bob", "large", b"x" * 10_000)
    for number in range(10):
        await store.set("ann", f"{number}", b"x")
    assert await store.keys("bob") == ["large"]
    assert await store.keys("ann") == ["6", "7", "8", "9"]


async def test_a_value_that_is_too_long_is_refused_and_changes_nothing(clock: Clock) -> None:
    store = store_of(clock, value=10)
    await store.set("ann", "a", b"x" * 10)
    with pytest.raises(TooLarge):
        await store.set("ann", "b", b"x" * 11)
    with pytest.raises(TooLarge) as caught:
        await store.append("ann", "a", b"x", at=10)
    assert (caught.value.size, caught.value.limit) == (11, 10)
    assert await store.get("ann", "a") == b"x" * 10


actions = some.tuples(
    some.sampled_from(["set", "append", "delete", "wait"]),
    some.sampled_from(["ann", "bob", "carol"]),
    some.sampled_from("abcdef"),
    some.integers(0, 900),
)


@settings(deadline=None)
@given(some.lists(actions, max_size=80))
async def test_it_never_holds_more_than_its_bounds_and_counts_truly(
    given: list[tuple[str, str, str, int]],
) -> None:
    clock = Clock()
    store = MemoryStore(4000, 8, 800, clock)
    for what, owner, key, size in given:
        try:
            if what == "set":
                await store.set(owner, key, b"x" * size, ttl_s=50)
            elif what == "append":
                await store.append(owner, key, b"x" * size, at=len(await store.get(owner, key) or b""))
            elif what == "delete":
                await store.delete(owner, key)
            else:
                clock.now += size / 10
        except TooLarge:
            assert size > 700 or what == "append"
    held = {
        (owner, key): len(await store.get(owner, key) or b"")
        for owner in ("ann", "bob", "carol")
        for key in await store.keys(owner)
    }
    assert len(held) == store._count <= 8
    assert sum(held.values()) <= store._bytes <= 4000
    for owner, key in held:
        assert await store.delete(owner, key)
    assert (store._bytes, store._count, store._shelves) == (0, 0, {})
