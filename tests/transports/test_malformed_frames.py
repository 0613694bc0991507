"""Malformed frames: each gets its error, and the correct request after it works. The long run is in
benchmarks."""

from __future__ import annotations

import gc
import json

import pytest
from malformed import MAKERS, PING, Maker, frames
from wire_peer import WirePeer, kind


async def check(peer: WirePeer, data: bytes, kinds: set[str]) -> None:
    """Send it, and a ping after it, in one piece; hear an error of those kinds and the pong."""
    peer.peer.feed(data)
    error = await peer.hear()
    assert kind(error) in kinds
    if error["id"] is None:
        assert error["error"]["data"]["frame"] == peer.peer.connection._frames.frames
    peer.say(PING)
    assert (await peer.hear())["result"]["pong"] is True
    peer.seen.clear()


async def test_a_thousand_malformed_frames() -> None:
    peer = WirePeer()
    for data, kinds in frames(1000, seed=1):
        await check(peer, data, kinds)
    assert peer.host.budget.held == 0
    gc.collect()
    assert not peer.peer.connection._tasks


@pytest.mark.parametrize("make", MAKERS)
async def test_every_sort(make: Maker) -> None:
    import random

    peer = WirePeer()
    for seed in range(20):
        await check(peer, *make(random.Random(seed)))


async def test_split_at_every_byte() -> None:
    peer = WirePeer()
    stream = b"".join(data for data, _ in frames(30, seed=2) if len(data) < 1000)
    for at in range(len(stream)):
        peer.peer.feed(stream[at : at + 1])
    peer.say(PING)
    peer.peer.read_waiting()
    assert json.loads(peer.peer._payloads[-1])["result"]["pong"] is True
