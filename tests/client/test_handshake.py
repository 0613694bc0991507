"""The client's half of the handshake, driven by hand."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from native_host.client.errors import HandshakeError
from native_host.client.handshake import introduce

NONCE = bytes(range(32))
SECRET = b"a shared secret"


def hello(nonce: bytes | None = NONCE, required: bool = True) -> bytes:
    auth: dict[str, Any] = {"required": required, "schemes": ["hmac-sha256", "api_key"]}
    if nonce is not None:
        auth["nonce"] = nonce.hex()
    return json.dumps(
        {
            "protocol_version": "1",
            "server": {"name": "native-host", "version": "0.1.0", "pid": 1},
            "capabilities": {"methods": [], "notifications": []},
            "limits": {"max_frame_in": 1, "max_frame_out": 1, "max_batch": 64},
            "auth": auth,
        }
    ).encode()


def test_it_says_who_it_is() -> None:
    method, params = next(introduce("me", 5000, None, None))
    assert method == "initialize"
    assert params["protocol_version"] == "1"
    client = params["client"]
    assert isinstance(client, dict)
    assert (client["name"], client["max_frame_in"]) == ("me", 5000)


def test_where_nothing_is_asked_for_it_is_done() -> None:
    steps = introduce("me", 5000, None, None)
    next(steps)
    with pytest.raises(StopIteration) as done:
        steps.send(hello(None, required=False))
    assert done.value.value.server.name == "native-host"


def test_both_sides_prove_the_secret() -> None:
    steps = introduce("me", 5000, SECRET, None)
    next(steps)
    method, params = steps.send(hello())
    theirs = bytes.fromhex(str(params["client_nonce"]))
    assert method == "authenticate"
    assert len(theirs) == 32
    assert (
        params["mac"]
        == hmac.new(SECRET, b"native-host/1 client" + NONCE + theirs, hashlib.sha256).hexdigest()
    )
    proof = hmac.new(SECRET, b"native-host/1 host" + theirs + NONCE, hashlib.sha256).hexdigest()
    with pytest.raises(StopIteration):
        steps.send(json.dumps({"mac": proof}).encode())


@pytest.mark.parametrize("answer", [{"mac": "00" * 32}, {"mac": "é"}, {}])
def test_a_host_without_the_secret_is_not_believed(answer: dict[str, str]) -> None:
    steps = introduce("me", 5000, SECRET, None)
    next(steps)
    steps.send(hello())
    with pytest.raises(HandshakeError, match="did not prove"):
        steps.send(json.dumps(answer).encode())


def test_a_host_that_was_given_no_secret_is_not_believed() -> None:
    steps = introduce("me", 5000, SECRET, None)
    next(steps)
    with pytest.raises(HandshakeError, match="without one"):
        steps.send(hello(nonce=None, required=False))


def test_an_api_key_is_shown() -> None:
    steps = introduce("me", 5000, None, "key")
    next(steps)
    assert steps.send(hello()) == ("authenticate", {"api_key": "key"})


def test_where_proof_is_asked_for_and_there_is_none_it_says_so() -> None:
    steps = introduce("me", 5000, None, None)
    next(steps)
    with pytest.raises(HandshakeError, match="hmac-sha256, api_key"):
        steps.send(hello())
