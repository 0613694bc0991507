"""Long results, cut and joined."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from native_host.protocol import chunks
from native_host.protocol.messages import ChunkedResult


@given(
    st.binary(min_size=1, max_size=20_000),
    st.sampled_from([4096, 5000, 65_536, 2**26]),
    st.text(max_size=100),
)
def test_what_is_joined_is_what_was_cut_and_every_frame_fits(result: bytes, most: int, id_: str) -> None:
    cut = chunks.cut(Raw(json.dumps(id_).encode()), result, most)
    payloads = list(cut.payloads())
    assert max(map(len, payloads)) <= min(most, 65_536)
    notes = [json.loads(payload)["params"] for payload in payloads]
    assert all(note["id"] == id_ and note["of"] == len(notes) for note in notes)
    told = msgspec.json.decode(cut.told(), type=ChunkedResult)
    assert chunks.join([note["data"] for note in notes], told) == result


def test_missing_and_changed_chunks_are_found() -> None:
    cut = chunks.cut(Raw(b"1"), b"x" * 10_000, 4096)
    data = [json.loads(payload)["params"]["data"] for payload in cut.payloads()]
    told = msgspec.json.decode(cut.told(), type=ChunkedResult)
    with pytest.raises(ValueError, match="chunks came of"):
        chunks.join(data[1:], told)
    with pytest.raises(ValueError, match="hash"):
        chunks.join([data[0].replace("e", "f"), *data[1:]], told)
