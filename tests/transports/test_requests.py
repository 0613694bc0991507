"""Requests side by side: answers, streams, errors, ids, notifications, cancellation, timeouts."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from wire_peer import WirePeer, kind

from native_host.protocol.frames import encode_frame
from native_host.settings import Settings


@pytest.fixture
async def peer() -> WirePeer:
    peer = WirePeer()
    await peer.open()
    return peer


async def test_answers_come_in_any_order(peer: WirePeer) -> None:
    peer.ask("generate", {"prompt": "wait"}, "slow")
    assert (await peer.call("generate", {"prompt": "quick"}, "fast"))["result"]["text"] == "quick"
    peer.service.go.set()
    assert (await peer.hear())["id"] == "slow"


async def test_a_stream_is_numbered_without_a_gap_and_comes_before_the_answer(peer: WirePeer) -> None:
    await peer.call("generate", {"prompt": "flood 5"}, 7)
    notes = [one["params"] for one in peer.seen if one.get("method") == "$/stream"]
    assert [note["seq"] for note in notes] == [0, 1, 2, 3, 4]
    assert {note["id"] for note in notes} == {7}
    assert "".join(note["text"] for note in notes) == peer.seen[-1]["result"]["text"]


async def test_progress_is_told(peer: WirePeer) -> None:
    await peer.call("generate", {"prompt": "load"}, "p")
    assert peer.seen[-2]["params"] == {"id": "p", "stage": "load", "fraction": 0.5, "message": "half"}


@pytest.mark.parametrize("id_", ["a", "", 0, -1, 1.5, 2**70, None, "é\\"])
async def test_an_id_is_echoed_as_it_was_written(peer: WirePeer, id_: object) -> None:
    answer = await peer.call("ping", id_=id_)
    assert "result" in answer
    assert answer["id"] == id_


@pytest.mark.parametrize("id_", ["true", "[1]", "{}", '"' + "x" * 2000 + '"'])
async def test_other_ids_are_refused(peer: WirePeer, id_: str) -> None:
    peer.peer.send(b'{"jsonrpc":"2.0","method":"ping","id":%b}' % id_.encode())
    answer = await peer.hear()
    assert answer["id"] is None
    assert kind(answer) == "invalid_request"
    assert answer["error"]["data"]["frame"] == 2


async def test_an_id_in_flight_is_refused_and_free_again_afterwards(peer: WirePeer) -> None:
    peer.ask("generate", {"prompt": "wait"}, 1)
    assert kind(await peer.call("ping", id_=1)) == "duplicate_id"
    peer.service.go.set()
    assert (await peer.hear())["result"]["text"] == "wait"
    assert "result" in await peer.call("ping", id_=1)


async def test_notifications_are_never_answered(peer: WirePeer) -> None:
    for method, params in [
        ("generate", {"prompt": "x"}),
        ("nope", {}),
        ("$/cancelRequest", {"id": 99}),
        ("$/cancelRequest", {"wrong": 1}),
        ("ping", [1, 2]),
    ]:
        peer.notify(method, params)
    assert "result" in await peer.call("ping")
    assert len(peer.seen) == 2
    assert peer.service.started.empty()


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"prompt": "x", "colour": 1}, "colour"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "x", "temperature": -0.1}, "temperature"),
        ({"prompt": "x", "adapters": [{"scale": 1}]}, "adapters[0].name"),
        ({"prompt": "x", "logprobs": 21}, "logprobs"),
        ([1, 2], ""),
    ],
)
async def test_wrong_params_name_the_member(peer: WirePeer, params: object, path: str) -> None:
    answer = await peer.call("generate", params)
    assert answer["error"]["code"] == -32602
    assert answer["error"]["data"]["path"] == path
    assert answer["error"]["data"]["problem"]


async def test_unknown_methods_are_named(peer: WirePeer) -> None:
    answer = await peer.call("models.fly")
    assert answer["error"]["code"] == -32601
    assert answer["error"]["data"] == {"kind": "method_not_found", "method": "models.fly"}


async def test_a_handlers_error_goes_out_as_it_is(peer: WirePeer) -> None:
    answer = await peer.call("generate", {"prompt": "refuse m"})
    assert answer["error"]["code"] == -32010
    assert answer["error"]["data"] == {"kind": "model_not_found", "model": "m", "nearest": ["tabagent-demo"]}


@pytest.fixture
def logged_events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[logging.LogRecord]]:
    """What the transports log, whatever libraries that other tests have loaded made of logging."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", records.append)
    logger = logging.getLogger("native_host.transports")
    monkeypatch.setattr(logger, "disabled", False)
    before = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(before)


@pytest.mark.parametrize("prompt", ["fail the secret words", "nan"])
async def test_an_unforeseen_error_has_an_incident_that_the_log_has_too(
    peer: WirePeer, prompt: str, logged_events: list[logging.LogRecord]
) -> None:
    answer = await peer.call("generate", {"prompt": prompt})
    assert answer["error"]["code"] == -32603
    assert set(answer["error"]["data"]) == {"kind", "incident"}
    fields: list[dict[str, Any]] = [getattr(record, "fields", {}) for record in logged_events]
    (logged,) = [one for one in fields if one.get("incident") == answer["error"]["data"]["incident"]]
    assert logged["traceback"]
    assert "secret" not in json.dumps(fields)
    assert "secret" not in json.dumps(answer)


@pytest.mark.parametrize("prompt", ["wait", "deaf"])
async def test_a_cancelled_request_is_answered_at_once(peer: WirePeer, prompt: str) -> None:
    peer.ask("generate", {"prompt": prompt}, "c")
    await peer.service.started.get()
    peer.notify("$/cancelRequest", {"id": "c"})
    peer.peer.read_waiting()  # already there: nothing was waited for
    answer = json.loads(peer.peer._payloads.pop())
    assert answer["id"] == "c"
    assert answer["error"]["code"] == -32800
    if prompt == "wait":
        assert answer["error"]["data"] == {
            "kind": "cancelled",
            "text": "so far",
            "usage": {"prompt_tokens": 1, "completion_tokens": 2, "cached_tokens": 0},
        }
    peer.service.go.set()
    await peer.peer.connection.finished()
    assert not peer.peer.pipe.written
    assert peer.host.requests == 0
    assert peer.host.budget.held == 0


async def test_a_cancelled_request_that_never_ran_is_answered_too(peer: WirePeer) -> None:
    peer.ask("generate", {"prompt": "wait"}, 3)
    peer.notify("$/cancelRequest", {"id": 3})
    assert kind(await peer.hear()) == "cancelled"
    await peer.peer.connection.finished()
    assert peer.service.started.empty()
    assert peer.host.budget.held == 0


async def test_a_timeout_is_answered_with_what_there_is(peer: WirePeer) -> None:
    answer = await peer.call("generate", {"prompt": "wait", "timeout_s": 0.001})
    assert answer["error"]["code"] == -32022
    assert answer["error"]["data"]["text"] == "so far"


async def test_too_many_requests_at_once_are_refused() -> None:
    peer = WirePeer(Settings(max_in_flight=2))
    await peer.open()
    for n in range(2):
        peer.ask("generate", {"prompt": "wait"}, n)
    answer = await peer.call("generate", {"prompt": "x"}, "third")
    assert answer["error"]["code"] == -32021
    assert answer["error"]["data"]["queue_depth"] == 2


async def test_input_of_all_peers_together_is_bounded() -> None:
    first = WirePeer(Settings(max_held_input=100_000))
    await first.open()
    second = WirePeer(host=first.host)
    await second.open()
    first.peer.feed(encode_frame(b" " * 90_000)[:-1])  # held, not complete
    second.ask("generate", {"prompt": "x" * 20_000})
    refused = await second.hear()
    assert kind(refused) == "overloaded"
    assert refused["error"]["data"]["frame"] == 2
    assert (await second.call("health"))["result"]["status"] == "degraded"
    first.peer.close()
    assert "result" in await second.call("generate", {"prompt": "x" * 20_000})
    await asyncio.sleep(0)
    assert first.host.budget.held == 0


async def test_a_held_frame_counts_until_its_request_is_done(peer: WirePeer) -> None:
    peer.ask("generate", {"prompt": "wait " + "x" * 5000})
    await peer.service.started.get()
    assert peer.host.budget.held > 5000
    peer.service.go.set()
    await peer.hear()
    await peer.peer.connection.finished()
    assert peer.host.budget.held == 0
