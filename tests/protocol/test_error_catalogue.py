"""The catalogue says what the contract's table says, and every error is made as its row says."""

from __future__ import annotations

import inspect

import pytest

from native_host.protocol import errors
from native_host.protocol.errors import CATALOGUE, ErrorKind, RpcError

ARGUMENTS: dict[str, object] = {
    "length": 1,
    "limit": 2,
    "needed_bytes": 1,
    "available_bytes": 2,
    "queue_depth": 3,
    "retry_after_s": 1.5,
    "resumable": True,
    "supported": ["1"],
    "nearest": ["a", "b"],
}


@pytest.mark.parametrize("row", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_every_kind_has_a_maker_that_gives_what_its_row_names(row: ErrorKind) -> None:
    make = getattr(errors, row.kind)
    needed = [one.name for one in inspect.signature(make).parameters.values() if one.default is one.empty]
    extra = {"tokens": 5} if row.kind == "input_too_long" else {}
    error = make(*[ARGUMENTS.get(name, name) for name in needed], **extra)
    assert isinstance(error, RpcError)
    assert (error.kind, error.code) == (row.kind, row.code)
    told_by_the_connection = {"frame"}
    either = {"tokens", "bytes"} if row.kind == "input_too_long" else set()
    assert set(row.data) - told_by_the_connection - either <= set(error.data)
    assert error.data["kind"] == row.kind
    assert error.message


def test_codes_are_shared_only_where_the_contract_says() -> None:
    by_code: dict[int, set[str]] = {}
    for row in CATALOGUE.values():
        by_code.setdefault(row.code, set()).add(row.kind)
    assert by_code.pop(-32600) == {"invalid_request", "frame_too_large", "batch_too_large", "duplicate_id"}
    assert all(len(kinds) == 1 for kinds in by_code.values())


def test_http_statuses() -> None:
    expected = {"parse_error": 400, "frame_too_large": 413, "cancelled": 499, "unsupported_protocol": 426}
    assert {kind: errors.http_status(kind) for kind in expected} == expected


def test_an_error_from_another_process_is_the_same_error() -> None:
    sent = errors.model_not_found("a", ["b"])
    got = errors.from_wire(sent.code, sent.message, sent.data)
    assert (got.kind, got.code, got.message, got.data) == (sent.kind, sent.code, sent.message, sent.data)
    assert errors.from_wire(-32601, "x", None).kind == "method_not_found"
    assert errors.from_wire(1, "x", {"kind": "new"}).kind == "internal_error"
