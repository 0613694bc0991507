"""Frames, cut at any byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_host.protocol.frames import (
    ByteBudget,
    Frame,
    FrameDecoder,
    FrameNotHeld,
    FrameTooLarge,
    MessageDecoder,
    encode_frame,
    encode_message,
)

LIMIT = 64


def header(length: int) -> bytes:
    return struct.pack("=I", length)


@given(st.lists(st.binary(max_size=2 * LIMIT), max_size=8), st.data())
def test_frames_split_at_any_byte_come_out_whole(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(header(len(payload)) + payload for payload in payloads)
    budget = ByteBudget(10_000)
    decoder = FrameDecoder(LIMIT, budget)
    cuts = []
    while stream:
        take = data.draw(st.integers(1, len(stream)))
        cuts += decoder.feed(stream[:take])
        stream = stream[take:]
    assert [cut.number for cut in cuts] == list(range(1, len(payloads) + 1))
    for cut, payload in zip(cuts, payloads, strict=True):
        if len(payload) > LIMIT:
            assert cut == FrameTooLarge(cut.number, len(payload), LIMIT)
        else:
            assert isinstance(cut, Frame)
            assert bytes(cut.payload) == payload
    assert budget.held == sum(len(payload) for payload in payloads if len(payload) <= LIMIT)


def test_the_length_is_in_native_byte_order() -> None:
    assert encode_frame(b"ab") == (2).to_bytes(4, __import__("sys").byteorder) + b"ab"


def test_an_empty_frame_is_never_made() -> None:
    with pytest.raises(ValueError, match="empty"):
        encode_frame(b"")


def test_an_oversize_frame_is_told_at_once_and_never_held() -> None:
    budget = ByteBudget(1000)
    decoder = FrameDecoder(LIMIT, budget)
    assert decoder.feed(header(2**32 - 1)) == [FrameTooLarge(1, 2**32 - 1, LIMIT)]
    for _ in range(4):
        assert decoder.feed(b"x" * 2**16) == []
    assert budget.held == 0


def test_a_frame_without_room_is_drained_and_the_next_is_read() -> None:
    budget = ByteBudget(10)
    decoder = FrameDecoder(LIMIT, budget)
    cuts = decoder.feed(header(8) + b"x" * 6)
    cuts += FrameDecoder(LIMIT, budget).feed(header(5) + b"y" * 5)
    assert cuts == [FrameNotHeld(1, 5)]
    cuts = decoder.feed(b"x" * 2 + header(4) + b"z" * 4)
    assert [type(cut) for cut in cuts] == [Frame, FrameNotHeld]
    budget.give(8)
    (last,) = decoder.feed(header(4) + b"last")
    assert isinstance(last, Frame)
    assert bytes(last.payload) == b"last"


def test_an_unfinished_frame_gives_its_bytes_back() -> None:
    budget = ByteBudget(100)
    decoder = FrameDecoder(LIMIT, budget)
    decoder.feed(header(50) + b"x" * 20)
    assert budget.held == 20
    decoder.close()
    assert budget.held == 0


def test_messages_are_frames_of_their_own() -> None:
    decoder = MessageDecoder(5)
    assert decoder.feed(b"hello") == [Frame(1, b"hello")]
    assert decoder.feed(b"too long") == [FrameTooLarge(2, 8, 5)]
    assert decoder.feed(b"") == [Frame(3, b"")]
    assert encode_message(b"hello") == b"hello"
    with pytest.raises(ValueError, match="empty"):
        encode_message(b"")


def test_a_message_counts_against_the_budget() -> None:
    budget = ByteBudget(8)
    decoder = MessageDecoder(100, budget)
    assert decoder.feed(b"hello") == [Frame(1, b"hello")]
    assert decoder.feed(b"hello") == [FrameNotHeld(2, 5)]
    assert budget.held == 5
