"""The sans-I/O core: bytes in, events out."""

from __future__ import annotations

import base64
import hashlib
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_host.client.errors import BrokenStream
from native_host.client.session import Answer, Event, Failure, Piece, Progress, Session
from native_host.protocol.errors import RpcError
from native_host.protocol.frames import Frame, FrameDecoder, encode_frame


def frame(**members: object) -> bytes:
    return encode_frame(json.dumps({"jsonrpc": "2.0", **members}).encode())


def stream(seq: int, text: str, request_id: int = 1) -> bytes:
    return frame(method="$/stream", params={"id": request_id, "seq": seq, "text": text})


def chunk(index: int, of: int, data: bytes) -> bytes:
    params = {"id": 1, "index": index, "of": of, "data": base64.b64encode(data).decode()}
    return frame(method="$/chunk", params=params)


def broken(event: Event) -> str:
    assert isinstance(event, Failure)
    assert isinstance(event.error, BrokenStream)
    return str(event.error)


def test_a_request_is_one_frame_of_json() -> None:
    request_id, data = Session().request("ping", {"a": "ü"})
    [cut] = FrameDecoder(1000).feed(data)
    assert isinstance(cut, Frame)
    assert json.loads(cut.payload) == {
        "jsonrpc": "2.0",
        "id": request_id,
        "method": "ping",
        "params": {"a": "ü"},
    }


def test_every_request_has_its_own_id() -> None:
    session = Session()
    assert session.request("ping", {})[0] != session.request("ping", {})[0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_has_not_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="no place in JSON"):
        Session().request("generate", {"prompt": "", "temperature": value})


@given(cuts=st.lists(st.integers(0, 400), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_arrive(cuts: list[int]) -> None:
    data = stream(0, "é") + frame(
        method="$/progress", params={"id": 1, "stage": "load", "fraction": None, "message": ""}
    )
    data += stream(1, "b") + frame(id=1, result={"text": "éb"})
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    session = Session()
    events = [event for start, end in pairwise(edges) for event in session.receive(data[start:end])]
    assert [type(event) for event in events] == [Piece, Progress, Piece, Answer]
    assert "".join(event.text for event in events if isinstance(event, Piece)) == "éb"


def test_a_gap_in_a_stream_is_a_failure_of_that_request() -> None:
    session = Session()
    assert isinstance(session.receive(stream(0, "a"))[0], Piece)
    assert "piece 1" in broken(session.receive(stream(2, "c"))[0])
    assert isinstance(session.receive(stream(0, "a", request_id=2))[0], Piece)


def test_errors_keep_their_kind_and_data() -> None:
    data = {"kind": "model_not_found", "model": "x", "nearest": ["y"]}
    [event] = Session().receive(frame(id=1, error={"code": -32010, "message": "no model 'x'", "data": data}))
    assert isinstance(event, Failure)
    assert isinstance(event.error, RpcError)
    assert (event.error.kind, event.error.code, event.error.data["nearest"]) == (
        "model_not_found",
        -32010,
        ["y"],
    )


def test_a_long_result_is_joined() -> None:
    whole = json.dumps({"text": "x" * 500}).encode()
    parts = [whole[:300], whole[300:]]
    session = Session()
    assert session.receive(b"".join(chunk(index, 2, part) for index, part in enumerate(parts))) == []
    done = {"chunked": True, "chunks": 2, "sha256": hashlib.sha256(whole).hexdigest()}
    assert session.receive(frame(id=1, result=done)) == [Answer(1, whole)]


@pytest.mark.parametrize(
    ("sent", "of", "sha256"),
    [([b"a", b"b"], 2, hashlib.sha256(b"other").hexdigest()), ([b"a"], 2, hashlib.sha256(b"a").hexdigest())],
    ids=["wrong checksum", "a part missing at the end"],
)
def test_a_damaged_long_result_is_a_failure(sent: list[bytes], of: int, sha256: str) -> None:
    session = Session()
    for index, part in enumerate(sent):
        session.receive(chunk(index, of, part))
    [event] = session.receive(frame(id=1, result={"chunked": True, "chunks": of, "sha256": sha256}))
    assert "checksum" in broken(event)


def test_a_part_out_of_order_is_a_failure() -> None:
    assert "part 0" in broken(Session().receive(chunk(1, 2, b"b"))[0])


def test_a_part_that_is_not_base64_is_a_failure() -> None:
    data = frame(method="$/chunk", params={"id": 1, "index": 0, "of": 1, "data": "%%%"})
    assert "damaged" in broken(Session().receive(data)[0])


@pytest.mark.parametrize("payload", [b"no json", b"\xff", b"[1]", b'{"id": {}}', b"[" * 100_000])
def test_what_is_no_message_breaks_the_connection(payload: bytes) -> None:
    with pytest.raises(BrokenStream):
        Session().receive(encode_frame(payload))


def test_a_frame_that_was_not_agreed_on_breaks_the_connection() -> None:
    with pytest.raises(BrokenStream, match="longer than"):
        Session(max_frame_in=4096).receive(encode_frame(b" " * 4097))


def test_an_error_without_a_request_breaks_the_connection() -> None:
    with pytest.raises(BrokenStream, match="could not read"):
        Session().receive(
            frame(id=None, error={"code": -32700, "message": "parse error", "data": {"frame": 3}})
        )


def test_notifications_of_later_versions_are_ignored() -> None:
    assert Session().receive(frame(method="$/news", params={"x": 1})) == []
