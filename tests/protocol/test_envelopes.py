"""Envelopes: what is a call, what is not, and why; and that nothing is sent that is no JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from native_host.protocol import envelopes, errors
from native_host.protocol.envelopes import BadCall, Batch, Call
from native_host.protocol.messages import GenerateParams
from native_host.protocol.nesting import deeper_than
from native_host.protocol.utf8 import utf8_problem

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def bad(payload: bytes | bytearray) -> tuple[str, bytes]:
    """The kind of error that this gets, and the id that it goes to."""
    found = envelopes.decode(payload)
    assert isinstance(found, BadCall), found
    return found.error.kind, bytes(found.id)


@given(json_values, st.text(), st.integers() | st.text(max_size=100))
def test_any_json_as_params_arrives(params: Any, method: str, id_: object) -> None:  # noqa: ANN401
    message = {"jsonrpc": "2.0", "method": method, "params": {"value": params}, "id": id_}
    found = envelopes.decode(json.dumps(message).encode())
    assert isinstance(found, Call)
    assert (found.method, found.key) == (method, id_)
    assert found.id is not None
    assert json.loads(bytes(found.id)) == id_
    assert json.loads(bytes(found.params)) == {"value": params}


@given(st.binary())
def test_any_bytes_are_answered_with_something(payload: bytes) -> None:
    assert isinstance(envelopes.decode(payload), Call | BadCall | Batch)


@given(json_values)
def test_any_json_is_a_call_or_an_invalid_request(value: Any) -> None:  # noqa: ANN401
    found = envelopes.decode(json.dumps(value).encode())
    if isinstance(found, BadCall):
        assert found.error.kind in ("invalid_request", "batch_too_large")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b" ",
        b"{",
        b"NaN",
        b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":NaN}}',
        b'{"jsonrpc":"2.0","method":"ping","id":1,"params":{"a":-Infinity}}',
        b'{"jsonrpc":"2.0","method":"ping","id":1} x',
        b'{"jsonrpc":"2.0","method":"ping","id":01}',
        b'{"jsonrpc":"2.0","extra":1,"method":"ping","id":1',
        b'{"a":"\xff"}',
        b'"\xed\xa0\x80"',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"[" * 201 + b"]" * 201,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[1,",
    ],
)
def test_what_is_no_json_is_a_parse_error(payload: bytes) -> None:
    assert bad(payload) == ("parse_error", b"null")
    assert bad(bytearray(payload)) == ("parse_error", b"null")


@pytest.mark.parametrize(
    ("payload", "id_"),
    [
        (b"5", b"null"),
        (b"null", b"null"),
        (b'"x"', b"null"),
        (b"{}", b"null"),
        (b"[]", b"null"),
        (b'{"method":"ping","id":1}', b"1"),
        (b'{"jsonrpc":2.0,"method":"ping","id":1}', b"1"),
        (b'{"jsonrpc":"2.0","id":1}', b"1"),
        (b'{"jsonrpc":"2.0","method":5,"id":"a"}', b'"a"'),
        (b'{"jsonrpc":"2.0","method":null,"id":"a"}', b'"a"'),
        (b'{"jsonrpc":"2.0","method":"ping","params":5,"id":1}', b"1"),
        (b'{"jsonrpc":"2.0","method":"ping","params":null,"id":1}', b"1"),
        (b'{"jsonrpc":"2.0","method":"ping","parms":{},"id":1}', b"1"),
        (b'{"jsonrpc":"2.0","method":"ping","id":true}', b"null"),
        (b'{"jsonrpc":"2.0","method":"ping","id":1e999}', b"null"),
        (b'{"jsonrpc":"2.0","method":"ping","x":1,"id":[1]}', b"null"),
    ],
)
def test_json_that_is_no_request_goes_back_to_its_id(payload: bytes, id_: bytes) -> None:
    assert bad(payload) == ("invalid_request", id_)


def test_of_duplicate_keys_the_last_counts() -> None:
    found = envelopes.decode(b'{"jsonrpc":"2.0","method":"a","method":"b","id":1,"id":2}')
    assert isinstance(found, Call)
    assert (found.method, found.key) == ("b", 2)


def test_200_levels_are_allowed() -> None:
    deep = b"[" * 199 + b"]" * 199
    found = envelopes.decode(b'{"jsonrpc":"2.0","method":"a","id":1,"params":' + deep + b"}")
    assert isinstance(found, Call)


@given(json_values, st.integers(0, 12))
def test_depth_is_what_a_full_parse_finds(value: Any, limit: int) -> None:  # noqa: ANN401
    payload = json.dumps(value).encode()
    assert deeper_than(payload, limit) == (depth_of(value) > limit)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(st.text(alphabet='[]{}"\\a', max_size=40))
def test_brackets_inside_text_are_no_depth(text: str) -> None:
    assert not deeper_than(json.dumps([text] * 100).encode(), 1)


@pytest.mark.parametrize("shift", range(4))
def test_depth_is_found_across_the_windows(shift: int) -> None:
    window = 256 * 1024
    text = json.dumps("[" * 1000 + '\\"' * window + "[" * 1000).encode()
    payload = b" " * shift + b"[" * 5 + text + b"," + b"[" * 3 + b"]" * 8
    assert deeper_than(payload, 7)
    assert not deeper_than(payload, 8)


@given(st.binary(max_size=50))
def test_utf8_is_told_from_what_is_not(payload: bytes) -> None:
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError:
        assert utf8_problem(payload)
    else:
        assert utf8_problem(payload) is None


def test_a_character_across_the_windows_is_whole() -> None:
    payload = b"x" * (1024 * 1024 - 1) + "é".encode()
    assert utf8_problem(payload) is None
    assert utf8_problem(payload[:-1])


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": [1.0, -math.inf]}, [None, (math.nan,)]])
def test_nan_and_infinities_are_never_written(value: object) -> None:
    with pytest.raises(ValueError, match="NaN"):
        envelopes.encode_value(value)


def test_an_infinity_deep_in_a_struct_is_found() -> None:
    with pytest.raises(ValueError, match="NaN"):
        envelopes.encode_value(GenerateParams(prompt="x", logit_bias={1: math.inf}))


def test_the_word_null_and_none_are_fine() -> None:
    assert envelopes.encode_value({"a": "null", "b": None}) == b'{"a":"null","b":null}'


def test_half_a_surrogate_is_never_written() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        envelopes.encode_value("\ud800")


def test_numbers_out_of_range_are_invalid_params() -> None:
    with pytest.raises(errors.RpcError) as raised:
        envelopes.decode_params(Raw(b'{"prompt":"x","temperature":1e999}'), GenerateParams)
    assert raised.value.data == {
        "kind": "invalid_params",
        "path": "temperature",
        "problem": "Number out of range",
    }


def test_params_that_are_absent_are_an_empty_object() -> None:
    found = envelopes.decode(b'{"jsonrpc":"2.0","method":"generate","id":1}')
    assert isinstance(found, Call)
    assert envelopes.decode_params(found.params, GenerateParams) == GenerateParams()


def test_an_error_without_an_id_tells_the_frame() -> None:
    sent = json.loads(envelopes.encode_error(envelopes.NULL_ID, errors.parse_error("x"), 7))
    assert sent["error"]["data"] == {"kind": "parse_error", "frame": 7}
    sent = json.loads(envelopes.encode_error(Raw(b"1"), errors.duplicate_id(), 7))
    assert sent["error"]["data"] == {"kind": "duplicate_id"}
    assert msgspec.json.decode(envelopes.encode_batch([b"1", b"2"])) == [1, 2]


def test_a_parse_error_tells_the_frame_although_it_has_an_id() -> None:
    assert b'"frame":7' in envelopes.encode_error(Raw(b"1"), errors.parse_error("x"), 7)
