"""What a connection answers, and when: before `initialize`, after it, and on the way out."""

from __future__ import annotations

import os

import pytest
from wire_peer import WirePeer, kind

from native_host.protocol.methods import METHODS


async def test_before_initialize_only_ping_and_health_answer() -> None:
    peer = WirePeer()
    assert (await peer.call("ping"))["result"]["pong"] is True
    assert (await peer.call("health"))["result"]["status"] == "ok"
    for method in set(METHODS) - {"ping", "health", "initialize"}:
        answer = await peer.call(method, {})
        assert kind(answer) == "not_initialized"
        assert answer["error"]["code"] == -32002


async def test_initialize_tells_limits_and_who_answers() -> None:
    answer = await WirePeer().open(max_frame_in=100_000)
    result = answer["result"]
    assert result["protocol_version"] == "1"
    assert result["server"]["pid"] == os.getpid()
    assert result["limits"] == {"max_frame_in": 67_108_864, "max_frame_out": 100_000, "max_batch": 64}
    assert result["auth"] == {"required": False, "schemes": []}


async def test_a_second_initialize_is_refused() -> None:
    peer = WirePeer()
    await peer.open()
    assert kind(await peer.open()) == "invalid_request"


@pytest.mark.parametrize(("version", "side"), [("2", "this host"), ("0", "the client"), ("x", "the client")])
async def test_another_major_version_is_refused_with_the_side_to_update(version: str, side: str) -> None:
    peer = WirePeer()
    answer = await peer.call(
        "initialize", {"protocol_version": version, "client": {"name": "a", "version": "1"}}
    )
    assert answer["error"]["code"] == -32004
    assert answer["error"]["data"] == {"kind": "unsupported_protocol", "supported": ["1"]}
    assert answer["error"]["message"].endswith(side)


async def test_minor_versions_do_not_matter() -> None:
    peer = WirePeer()
    answer = await peer.call(
        "initialize", {"protocol_version": "1.7", "client": {"name": "a", "version": "1"}}
    )
    assert "result" in answer


async def test_a_browsers_limits_and_origin_stand_above_what_the_peer_says() -> None:
    peer = WirePeer(origin="chrome-extension://abc/", max_frame_out=1_048_576)
    answer = await peer.open(max_frame_in=60_000_000, origin="chrome-extension://other/")
    assert answer["result"]["limits"]["max_frame_out"] == 1_048_576
    identity = peer.peer.connection._handshake.identity
    assert identity is not None
    assert (identity.kind, identity.name) == ("origin", "chrome-extension://abc/")


async def test_after_shutdown_only_what_runs_goes_on_and_exit_ends_it() -> None:
    peer = WirePeer()
    await peer.open()
    peer.ask("generate", {"prompt": "wait"}, "running")
    await peer.service.started.get()
    assert (await peer.call("shutdown"))["result"] is None
    assert kind(await peer.call("generate", {"prompt": "x"})) == "shutting_down"
    peer.service.go.set()
    assert (await peer.hear())["id"] == "running"
    peer.notify("exit", {})
    assert peer.peer.ended.is_set()
    with pytest.raises(EOFError):
        await peer.hear()


async def test_the_end_of_the_stream_cancels_what_runs() -> None:
    peer = WirePeer()
    await peer.open()
    peer.ask("generate", {"prompt": "wait"})
    await peer.service.started.get()
    peer.peer.close()
    assert await peer.service.ended.get() == "wait"
    await peer.peer.connection.finished()
    assert peer.host.requests == 0
    assert peer.host.budget.held == 0


async def test_discover_describes_every_method() -> None:
    peer = WirePeer()
    await peer.open()
    document = (await peer.call("rpc.discover"))["result"]
    assert {method["name"] for method in document["methods"]} == set(METHODS)
