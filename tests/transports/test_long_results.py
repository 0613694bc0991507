"""Results that are longer than the peer's frames."""

from __future__ import annotations

import json

import pytest
from msgspec import Raw
from wire_peer import WirePeer, kind

from native_host.protocol import chunks, errors
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ChunkedResult
from native_host.transports.reply import Answer


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


@pytest.mark.parametrize("character", ["m", "😀", "\0", "\\"])
async def test_an_error_is_shortened_to_fit(character: str) -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    peer.ask("generate", {"prompt": "refuse " + character * 50_000}, "i" * 1000)
    payload = await peer.peer.receive()
    assert len(payload) <= 4096
    answer = json.loads(payload)
    assert kind(answer) == "model_not_found"
    assert answer["error"]["data"]["shortened"] is True


@pytest.mark.parametrize(
    "error",
    [
        errors.model_not_found("m", ["😀" * 3000] * 100),
        RpcError("cancelled", "m", {"text": None, "texts": ["€" * 50_000] * 64}),
        errors.invalid_model_file("\x07" * 5000, "€" * 5000),
    ],
)
def test_any_error_fits_the_smallest_frame(error: RpcError) -> None:
    payload = Answer(Raw(b'"%b"' % (b"i" * 1000)), 1, error=error).envelope(4096)
    assert len(payload) <= 4096
    assert json.loads(payload)["error"]["data"]["kind"] == error.kind


async def test_tokens_that_have_no_text_yet_are_split_too() -> None:
    peer = WirePeer()
    await peer.open(max_frame_in=4096)
    await peer.call("generate", {"prompt": "silent 200"})
    notes = [one["params"] for one in peer.seen if one.get("method") == "$/stream"]
    assert len(notes) > 1
    assert [token["token"] for note in notes for token in note["logprobs"]] == list(range(200))
    assert max(len(json.dumps(one, separators=(",", ":"))) for one in peer.seen) <= 4096
