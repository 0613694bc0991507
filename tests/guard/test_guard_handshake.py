"""The handshake: right, wrong, replayed, expired and foreign nonces, API keys, and methods before it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest

from native_host.guard.handshake import AuthPolicy, Handshake
from native_host.guard.keys import KeyStore
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import AuthenticateParams

SECRET = b"a secret of the parent"


class Clock:
    """Time that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def handshake(clock: Clock | None = None, keys: KeyStore | None = None) -> tuple[Handshake, str]:
    """One that has been initialized, and its nonce."""
    made = Handshake(AuthPolicy(SECRET, keys), clock or Clock())
    nonce = made.initialize("1", None).nonce
    assert nonce is not None
    return made, nonce


def proof(nonce: str, secret: bytes = SECRET, client_nonce: bytes | None = None) -> AuthenticateParams:
    """What the contract says, written out once more: HMAC over label, nonce, client nonce."""
    client_nonce = client_nonce or os.urandom(32)
    text = b"native-host/1 client" + bytes.fromhex(nonce) + client_nonce
    mac = hmac.new(secret, text, hashlib.sha256).hexdigest()
    return AuthenticateParams(client_nonce=client_nonce.hex(), mac=mac)


def refused(made: Handshake, params: AuthenticateParams) -> dict[str, Any]:
    """The data of the error that this proof gets."""
    with pytest.raises(RpcError) as raised:
        made.authenticate(params)
    assert raised.value.kind == "unauthenticated"
    assert made.identity is None
    return raised.value.data


@pytest.mark.parametrize("version", ["2", "0", "9" * 5000, "x"])
def test_another_version_is_refused(version: str) -> None:
    with pytest.raises(RpcError) as raised:
        Handshake(AuthPolicy(SECRET)).initialize(version, None)
    assert raised.value.kind == "unsupported_protocol"


def test_the_right_mac_is_answered_with_the_hosts_own() -> None:
    made, nonce = handshake()
    client_nonce = bytes(range(32))
    result = made.authenticate(proof(nonce, client_nonce=client_nonce))
    text = b"native-host/1 host" + client_nonce + bytes.fromhex(nonce)
    assert result.mac == hmac.new(SECRET, text, hashlib.sha256).hexdigest()
    assert made.identity is not None
    assert made.identity.kind == "secret"


def test_a_wrong_secret_is_refused_and_brings_a_new_nonce() -> None:
    made, nonce = handshake()
    data = refused(made, proof(nonce, b"another secret of it"))
    assert data["scheme"] == "hmac-sha256"
    assert data["nonce"] != nonce
    made.authenticate(proof(data["nonce"]))


def test_a_nonce_serves_once() -> None:
    made, nonce = handshake()
    refused(made, proof(nonce, b"another secret of it"))
    refused(made, proof(nonce))


def test_a_proof_cannot_be_replayed_on_another_connection() -> None:
    first, nonce = handshake()
    seen = proof(nonce)
    first.authenticate(seen)
    second, _ = handshake()
    refused(second, seen)


def test_a_nonce_expires_after_30_seconds() -> None:
    clock = Clock()
    made, nonce = handshake(clock)
    clock.now += 30.0
    data = refused(made, proof(nonce))
    clock.now += 29.9
    made.authenticate(proof(data["nonce"]))


def test_an_expired_nonce_is_renewed_when_it_is_asked_for() -> None:
    clock = Clock()
    made, nonce = handshake(clock)
    clock.now += 31
    with pytest.raises(RpcError) as raised:
        made.check("generate")
    assert raised.value.data["nonce"] != nonce
    made.authenticate(proof(raised.value.data["nonce"]))


def test_a_foreign_nonce_is_refused() -> None:
    made, _ = handshake()
    refused(made, proof(os.urandom(32).hex()))


def test_the_third_failure_is_the_last() -> None:
    made, nonce = handshake()
    for failure in (1, 2, 3):
        nonce = refused(made, proof(nonce, b"another secret of it"))["nonce"]
        assert made.exhausted == (failure == 3)


def test_the_mac_of_the_host_is_not_taken_for_the_clients() -> None:
    made, nonce = handshake()
    client_nonce = os.urandom(32)
    mac = hmac.new(SECRET, b"native-host/1 host" + client_nonce + bytes.fromhex(nonce), hashlib.sha256)
    refused(made, AuthenticateParams(client_nonce=client_nonce.hex(), mac=mac.hexdigest()))


@pytest.mark.parametrize("method", ["generate", "models.list", "rpc.discover", "shutdown"])
def test_other_methods_wait_for_it(method: str) -> None:
    made, _ = handshake()
    with pytest.raises(RpcError) as raised:
        made.check(method)
    assert raised.value.kind == "unauthenticated"
    assert made.failures == 0
    made.check("ping")
    made.check("authenticate")


def test_half_of_a_proof_is_no_failure() -> None:
    made, nonce = handshake()
    with pytest.raises(RpcError) as raised:
        made.authenticate(AuthenticateParams(mac=proof(nonce).mac))
    assert raised.value.kind == "invalid_params"
    assert made.failures == 0


def test_nothing_to_authenticate() -> None:
    made = Handshake(AuthPolicy())
    assert made.initialize("1", None).required is False
    with pytest.raises(RpcError) as raised:
        made.authenticate(AuthenticateParams(api_key="x"))
    assert raised.value.kind == "invalid_request"


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    file = tmp_path / "keys.json"
    write_keys(file, {"bot": "key-of-the-bot", "reader": "key-of-the-reader"})
    return file


def write_keys(file: Path, keys: dict[str, str]) -> None:
    stored = [
        {"name": name, "sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in keys.items()
    ]
    for one in stored:
        if one["name"] == "reader":
            one["scopes"] = ["models.read"]  # type: ignore[assignment]
    file.write_text(json.dumps({"keys": stored}))


def test_an_api_key_opens_with_its_own_name_and_scopes(keys: Path) -> None:
    made, _ = handshake(keys=KeyStore(keys))
    assert made.authenticate(AuthenticateParams(api_key="key-of-the-reader")).mac is None
    assert made.identity is not None
    assert (made.identity.kind, made.identity.name) == ("api_key", "reader")
    assert made.check_scope("models.read") is made.identity
    with pytest.raises(RpcError) as raised:
        made.check_scope("infer")
    assert raised.value.data == {"kind": "permission_denied", "scope": "infer"}


@pytest.mark.parametrize("key", ["", "key-of-the-bo", "key-of-the-bot ", "\ud800"])
def test_a_wrong_api_key_is_refused(keys: Path, key: str) -> None:
    made, nonce = handshake(keys=KeyStore(keys))
    assert refused(made, AuthenticateParams(api_key=key))["nonce"] != nonce


def test_a_revoked_key_is_refused_at_once(keys: Path) -> None:
    made, _ = handshake(keys=KeyStore(keys))
    write_keys(keys, {})
    refused(made, AuthenticateParams(api_key="key-of-the-bot"))


def test_a_key_from_the_environment() -> None:
    made = Handshake(AuthPolicy(keys=KeyStore(single="one key")))
    assert made.initialize("1", None).schemes == ["api_key"]
    made.authenticate(AuthenticateParams(api_key="one key"))


def test_nothing_is_taken_after_the_third_failure(keys: Path) -> None:
    handshake = Handshake(AuthPolicy(keys=KeyStore(keys)))
    handshake.initialize("1", None)
    for _ in range(3):
        with pytest.raises(RpcError):
            handshake.authenticate(AuthenticateParams(api_key="wrong"))
    for method in ("authenticate", "ping"):
        with pytest.raises(RpcError, match="too many failures"):
            handshake.check(method)
