"""Batches: every member on its own, one array if it fits, answers one by one if it does not."""

from __future__ import annotations

from typing import Any

import pytest
from wire_peer import WirePeer, kind


@pytest.fixture
async def peer() -> WirePeer:
    peer = WirePeer()
    await peer.open()
    return peer


def request(id_: object, method: str = "ping", **params: object) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}


async def test_a_bad_member_spoils_no_other(peer: WirePeer) -> None:
    peer.say(
        [
            request(1),
            5,
            {"jsonrpc": "1.0", "id": 2, "method": "ping"},
            request(3, "nope"),
            request(4, "generate", prompt="hello"),
            {"jsonrpc": "2.0", "method": "ping"},
            request(4),
        ]
    )
    answers = await peer.hear()
    by_id: dict[object, list[Any]] = {}
    for answer in answers:
        by_id.setdefault(answer["id"], []).append(answer)
    assert len(answers) == 6
    assert "result" in by_id[1][0]
    assert kind(by_id[None][0]) == "invalid_request"
    assert by_id[None][0]["error"]["data"]["frame"] == 2
    assert kind(by_id[2][0]) == "invalid_request"
    assert kind(by_id[3][0]) == "method_not_found"
    assert sorted("error" in answer for answer in by_id[4]) == [False, True]


async def test_a_batch_of_notifications_gets_no_answer(peer: WirePeer) -> None:
    peer.say([{"jsonrpc": "2.0", "method": "ping"}] * 3)
    assert "result" in await peer.call("ping")
    assert len(peer.seen) == 2


@pytest.mark.parametrize("members", [65, 10_000])
async def test_more_than_64_members_are_refused_before_any_runs(peer: WirePeer, members: int) -> None:
    peer.say([request(n, "generate", prompt="x") for n in range(members)])
    answer = await peer.hear()
    assert (kind(answer), answer["id"]) == ("batch_too_large", None)
    assert peer.service.started.empty()


async def test_64_members_are_answered(peer: WirePeer) -> None:
    peer.say([request(n) for n in range(64)])
    assert [answer["id"] for answer in await peer.hear()] == list(range(64))


async def test_an_empty_batch_is_an_invalid_request(peer: WirePeer) -> None:
    peer.say([])
    assert kind(await peer.hear()) == "invalid_request"


async def test_initialize_counts_for_the_members_after_it() -> None:
    peer = WirePeer()
    about = {"protocol_version": "1", "client": {"name": "a", "version": "1"}}
    peer.say(
        [
            request(1, "generate", prompt="x"),
            request(2, "initialize", **about),
            request(3, "generate", prompt="x"),
        ]
    )
    answers = {answer["id"]: answer for answer in await peer.hear()}
    assert kind(answers[1]) == "not_initialized"
    assert "result" in answers[3]


async def test_answers_that_do_not_fit_a_frame_come_one_by_one() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    peer.say([request(n, "generate", prompt="long 3000") for n in range(3)])
    assert sorted([(await peer.hear())["id"] for _ in range(3)]) == [0, 1, 2]


async def test_a_member_that_does_not_fit_by_itself_comes_in_chunks() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    peer.say([request(1), request(2, "generate", prompt="long 9000")])
    while not isinstance(answers := await peer.hear(), list):
        assert answers["method"] == "$/chunk"
    assert [answer["id"] for answer in answers] == [1, 2]
    assert answers[1]["result"]["chunked"] is True


async def test_a_cancelled_member_is_answered_at_once_and_the_others_together(peer: WirePeer) -> None:
    peer.say([request(1, "generate", prompt="wait"), request(2), request(3, "generate", prompt="wait")])
    peer.notify("$/cancelRequest", {"id": 1})
    first = await peer.hear()
    assert (first["id"], kind(first)) == (1, "cancelled")
    peer.service.go.set()
    assert [answer["id"] for answer in await peer.hear()] == [2, 3]
