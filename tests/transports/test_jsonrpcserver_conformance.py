"""The same requests through jsonrpcserver and through our connection: the envelopes must agree.

Where they do not, the case says why ours is meant to differ.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest
from jsonrpcserver import Result, Success, dispatch
from wire_peer import WirePeer

SAME = ""
ID_KEPT = "JSON-RPC wants null only if the id could not be told; with it, a caller does not wait for ever"
MEMBERS_APART = "the contract answers each member on its own; jsonrpcserver fails a whole batch for one"
BY_NAME = "our methods take params by name only, but an empty array names nothing wrong for jsonrpcserver"

CASES: list[tuple[str, str]] = [
    ('{"jsonrpc":"2.0","method":"ping","id":1}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","id":"a"}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","id":null}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","id":1.5}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":{},"id":1}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":{"x":1},"id":1}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":[1],"id":1}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":[],"id":1}', BY_NAME),
    ('{"jsonrpc":"2.0","method":"ping"}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":{"x":1}}', SAME),
    ('{"jsonrpc":"2.0","method":"nope","id":1}', SAME),
    ('{"jsonrpc":"2.0","method":"nope"}', SAME),
    ('{"jsonrpc":"2.0","method":1,"params":"bar"}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","params":"bar","id":1}', ID_KEPT),
    ('{"jsonrpc":"2.0","method":"ping","params":null,"id":1}', ID_KEPT),
    ('{"jsonrpc":"2.0","method":1,"id":1}', ID_KEPT),
    ('{"jsonrpc":"1.0","method":"ping","id":1}', ID_KEPT),
    ('{"method":"ping","id":1}', ID_KEPT),
    ('{"jsonrpc":"2.0","id":1}', ID_KEPT),
    ('{"jsonrpc":"2.0","method":"ping","id":1,"x":1}', ID_KEPT),
    ('{"jsonrpc":"2.0","method":"ping","id":true}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","id":[1]}', SAME),
    ('{"jsonrpc":"2.0","method":"ping","id":{}}', SAME),
    ("{}", SAME),
    ("[]", SAME),
    ("1", SAME),
    ("null", SAME),
    ('"ping"', SAME),
    ("", SAME),
    ("{", SAME),
    ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', SAME),
    ('[{"jsonrpc":"2.0","method":"ping","id":"1"},{"jsonrpc":"2.0","method"', SAME),
    ('[{"jsonrpc":"2.0","method":"ping","id":1},{"jsonrpc":"2.0","method":"ping","id":2}]', SAME),
    ('[{"jsonrpc":"2.0","method":"ping","id":1},{"jsonrpc":"2.0","method":"nope","id":2}]', SAME),
    ('[{"jsonrpc":"2.0","method":"ping","id":1},{"jsonrpc":"2.0","method":"ping"}]', SAME),
    ('[{"jsonrpc":"2.0","method":"ping"},{"jsonrpc":"2.0","method":"ping"}]', SAME),
    ('[{"jsonrpc":"2.0","method":"ping","id":1},1]', MEMBERS_APART),
    ("[1,2,3]", MEMBERS_APART),
    ("[1]", MEMBERS_APART),
]

Outcome = list[tuple[str, object]] | tuple[str, object] | None
"""Of every answer its id and `ok` or the error's code: a list for a batch, None where nothing is answered."""


def ping() -> Result:
    return Success(True)


def outcome(document: Any) -> Outcome:  # noqa: ANN401
    if isinstance(document, list):
        return sorted((outcome_of_one(one) for one in document), key=repr)
    return outcome_of_one(document)


def outcome_of_one(answer: dict[str, Any]) -> tuple[str, object]:
    assert answer["jsonrpc"] == "2.0"
    assert ("result" in answer) != ("error" in answer)
    return json.dumps(answer["id"]), answer["error"]["code"] if "error" in answer else "ok"


def theirs(payload: str) -> Outcome:
    answer = dispatch(payload, methods={"ping": ping})
    return outcome(json.loads(answer)) if answer else None


async def ours(payload: str) -> Outcome:
    peer = WirePeer()
    await peer.open()
    peer.peer.feed(struct.pack("=I", len(payload.encode())) + payload.encode())
    await asyncio.sleep(0)
    peer.peer.read_waiting()
    return outcome(json.loads(peer.peer._payloads[0])) if peer.peer._payloads else None


@pytest.mark.parametrize(("payload", "reason"), CASES)
async def test_the_envelopes_agree_or_differ_for_a_reason(payload: str, reason: str) -> None:
    assert (await ours(payload) != theirs(payload)) == bool(reason)


@pytest.mark.parametrize("payload", [payload for payload, reason in CASES if reason == ID_KEPT])
async def test_where_the_id_is_kept_all_else_agrees(payload: str) -> None:
    mine, other = await ours(payload), theirs(payload)
    assert isinstance(mine, tuple)
    assert isinstance(other, tuple)
    assert (mine[0], other[0]) == ("1", "null")
    assert mine[1] == other[1]
