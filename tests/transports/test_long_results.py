"""Results that are longer than the peer's frames."""

from __future__ import annotations

import json

import pytest
from wire_peer import WirePeer, kind

from native_host.protocol import chunks
from native_host.protocol.messages import ChunkedResult


@pytest.mark.parametrize("max_frame", [4096, 100_000, 1_048_576])
async def test_a_long_result_comes_in_chunks_that_fit(max_frame: int) -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=max_frame)
    answer = await peer.call("generate", {"prompt": "long 3000000"}, "big")
    told = ChunkedResult(**answer["result"])
    notes = [one["params"] for one in peer.seen if one.get("method") == "$/chunk"]
    assert [note["index"] for note in notes] == list(range(told.chunks))
    assert all(note["of"] == told.chunks and note["id"] == "big" for note in notes)
    assert max(len(json.dumps(one)) for one in peer.seen) <= min(max_frame, 65_536) + 64  # json's own blanks
    result = json.loads(chunks.join([note["data"] for note in notes], told))
    assert result["text"] == "x" * 3_000_000


async def test_a_result_that_just_fits_is_not_cut() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    for length in range(3600, 4200):
        peer.ask("generate", {"prompt": f"long {length}"})
        payload = await peer.peer.receive()
        while b"$/chunk" in payload:
            assert len(payload) <= 4096
            payload = await peer.peer.receive()
        assert len(payload) <= 4096


async def test_a_piece_of_a_stream_that_is_too_long_is_sent_as_several() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    text = "€" * 5000
    await peer.call("generate", {"prompt": f"stream {text}"})
    notes = [one["params"] for one in peer.seen if one.get("method") == "$/stream"]
    assert [note["seq"] for note in notes] == list(range(len(notes)))
    assert len(notes) > 1
    assert "".join(note["text"] for note in notes) == text


async def test_an_error_is_shortened_to_fit() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    peer.ask("generate", {"prompt": "refuse " + "m" * 50_000})
    payload = await peer.peer.receive()
    assert len(payload) <= 4096
    answer = json.loads(payload)
    assert kind(answer) == "model_not_found"
    assert answer["error"]["data"]["shortened"] is True
