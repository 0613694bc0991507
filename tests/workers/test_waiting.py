"""Whose turn is next."""

from __future__ import annotations

import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.backends.waiting import FairQueue
from native_host.workers.messages import GenerateRequest


def request(identity: int = 0, priority: int = 0) -> GenerateRequest:
    return GenerateRequest(
        prompt="x",
        max_tokens=1,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        seed=0,
        priority=priority,
        identity=identity,
    )


def queue_of(*requests: GenerateRequest) -> FairQueue[int]:
    queue = FairQueue[int]()
    for number, each in enumerate(requests):
        queue.add(number, each, number)
    return queue


def all_of(queue: FairQueue[int]) -> list[int | None]:
    return [queue.next() for _ in range(len(queue))]


def test_identities_take_turns() -> None:
    queue = queue_of(request(1), request(1), request(1), request(2), request(3), request(2))
    assert all_of(queue) == [0, 3, 4, 1, 5, 2]


def test_priority_comes_first_and_age_last() -> None:
    queue = queue_of(request(1), request(1, priority=5), request(2), request(1, priority=-1))
    assert all_of(queue) == [1, 2, 0, 3]


def test_the_removed_are_left_out() -> None:
    queue = queue_of(request(), request(), request())
    assert queue.remove(1) == 1
    assert queue.remove(1) is None
    assert all_of(queue) == [0, 2]
    assert queue.next() is None


def test_it_is_finite() -> None:
    queue = FairQueue[int](bound=1)
    queue.add(0, request(), 0)
    with pytest.raises(RpcError) as caught:
        queue.add(1, request(), 1)
    assert caught.value.kind == "overloaded"
    assert caught.value.data["queue_depth"] == 1
