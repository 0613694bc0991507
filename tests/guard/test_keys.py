"""API keys: what is written, who is found, and that expiry and revocation hold at once."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from native_host.guard import key_file
from native_host.guard.handshake import AuthPolicy, Handshake
from native_host.guard.keys import KeyFileError, KeyStore, hash_of
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity, Quotas
from native_host.protocol.messages import AuthenticateParams

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_found_as_what_it_was_made_for(file: Path) -> None:
    quotas = Quotas(requests_per_minute=5, tokens_per_day=100, concurrent=2)
    key, _ = key_file.create(
        file, "bot", scopes=frozenset({"infer"}), quotas=quotas, model="tiny", prompt="kind"
    )
    expected = Identity("api_key", "bot", frozenset({"infer"}), quotas, "tiny", "kind", hash_of(key))
    assert KeyStore(file).find(key) == expected


def test_the_file_holds_the_hash_and_is_the_owners_alone(file: Path) -> None:
    key, made = key_file.create(file, "bot")
    assert key not in file.read_text()
    assert json.loads(file.read_text())["keys"][0]["sha256"] == made.sha256 == hash_of(key)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_open_to_others_is_closed(file: Path) -> None:
    file.write_text('{"keys": []}')
    file.chmod(0o644)
    key_file.create(file, "bot")
    assert file.stat().st_mode & 0o777 == 0o600


def test_keys_have_256_bits_and_differ(file: Path) -> None:
    keys = {key_file.create(file, f"key-{n}")[0] for n in range(20)}
    assert len(keys) == 20
    assert all(len(key.removeprefix("nh_")) == 43 for key in keys)  # 32 bytes in base64


def test_a_file_of_the_first_form_is_still_read(file: Path) -> None:
    file.write_text(json.dumps({"keys": [{"name": "old", "sha256": hash_of("k"), "scopes": ["infer"]}]}))
    assert KeyStore(file).find("k") == Identity("api_key", "old", frozenset({"infer"}), key=hash_of("k"))


@pytest.mark.parametrize("seconds", [0, 1, 86400])
def test_an_expired_key_is_no_key(file: Path, seconds: int) -> None:
    key, _ = key_file.create(file, "bot", expires=NOW)
    assert KeyStore(file, clock=lambda: NOW + timedelta(seconds=seconds)).find(key) is None
    assert KeyStore(file, clock=lambda: NOW - timedelta(seconds=1)).find(key) is not None


def test_changes_are_heeded_at_once(file: Path) -> None:
    store = KeyStore(file, optional=True)
    assert store.find("any") is None
    key, _ = key_file.create(file, "bot")
    other, _ = key_file.create(file, "other")
    assert store.find(key) is not None
    key_file.revoke(file, "bot")
    assert store.find(key) is None
    assert store.find(other) is not None


def test_a_key_of_a_connection_that_is_revoked_is_refused_at_the_next_request(file: Path) -> None:
    key, _ = key_file.create(file, "bot", scopes=frozenset({"infer"}))
    connection = Handshake(AuthPolicy(keys=KeyStore(file)))
    connection.initialize("1", None)
    connection.authenticate(AuthenticateParams(api_key=key))
    assert connection.check_scope("infer").name == "bot"
    key_file.revoke(file, "bot")
    with pytest.raises(RpcError, match="revoked or has expired") as refused:
        connection.check_scope("infer")
    assert refused.value.kind == "unauthenticated"
    key_file.create(file, "bot")  # another key of that name does not open the connection again
    with pytest.raises(RpcError, match="authenticate first"):
        connection.check_scope("infer")


def test_another_key_of_the_same_name_does_not_keep_a_connection_open(file: Path) -> None:
    key, _ = key_file.create(file, "bot")
    connection = Handshake(AuthPolicy(keys=KeyStore(file)))
    connection.initialize("1", None)
    connection.authenticate(AuthenticateParams(api_key=key))
    key_file.revoke(file, "bot")
    key_file.create(file, "bot")  # before the connection asked for anything
    with pytest.raises(RpcError, match="revoked or has expired"):
        connection.check_scope("infer")


def test_a_key_of_a_connection_that_may_less_now_may_less(file: Path) -> None:
    key, made = key_file.create(file, "bot")
    connection = Handshake(AuthPolicy(keys=KeyStore(file)))
    connection.initialize("1", None)
    connection.authenticate(AuthenticateParams(api_key=key))
    connection.check_scope("system")
    file.write_text(json.dumps({"keys": [{"name": "bot", "sha256": made.sha256, "scopes": ["infer"]}]}))
    with pytest.raises(RpcError) as refused:
        connection.check_scope("system")
    assert refused.value.data["scope"] == "system"


def test_the_users_own_keys_do_not_close_connections_of_their_processes(file: Path) -> None:
    policy = AuthPolicy(own_keys=KeyStore(file, optional=True))
    key_file.create(file, "bot")
    connection = Handshake(policy)
    assert connection.initialize("1", None).required is False
    assert connection.check_scope("system").kind == "local"


@pytest.mark.parametrize("name", ["", " ", "-x", "a b", "a/b", "é", "x" * 65, "a\n", "environment"])
def test_unusable_names_are_refused(file: Path, name: str) -> None:
    with pytest.raises(KeyFileError):
        key_file.create(file, name)
    assert not file.exists()


def test_a_name_that_is_taken_is_refused(file: Path) -> None:
    key_file.create(file, "bot")
    with pytest.raises(KeyFileError, match="revoke it first"):
        key_file.create(file, "bot")


def test_revoking_what_is_not_there_names_what_is(file: Path) -> None:
    key_file.create(file, "bot")
    with pytest.raises(KeyFileError, match="there is bot"):
        key_file.revoke(file, "bat")


def test_a_file_that_everybody_may_write_is_refused(file: Path) -> None:
    key_file.create(file, "bot")
    file.chmod(0o606)
    with pytest.raises(KeyFileError, match="chmod 600"):
        KeyStore(file)


@pytest.mark.parametrize(
    "entry",
    [
        {"expires": "2026-01-01T00:00:00"},
        {"quotas": {"requests_per_minute": 0}},
        {"quotas": {"per_hour": 1}},
        {"sha256": "00"},
    ],
)
def test_a_wrong_entry_is_refused(file: Path, entry: dict[str, object]) -> None:
    file.write_text(json.dumps({"keys": [{"name": "a", "sha256": "0" * 64, **entry}]}))
    with pytest.raises(KeyFileError, match=r"keys\.json"):
        KeyStore(file)


def test_two_keys_of_one_name_are_refused(file: Path) -> None:
    one = {"name": "a", "sha256": "0" * 64}
    file.write_text(json.dumps({"keys": [one, one]}))
    with pytest.raises(KeyFileError, match="two keys are called 'a'"):
        KeyStore(file)


def _create(file: str, number: int) -> None:
    key_file.create(Path(file), f"key-{number}-{os.getpid()}")


def test_several_processes_lose_no_key(file: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_create, args=(str(file), number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(KeyStore(file).stored()) == 4
