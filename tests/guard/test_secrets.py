"""Where the shared secret comes from, and that it is taken away from there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from native_host.guard.keys import KeyFileError, KeyStore
from native_host.guard.secrets import SecretError, read_policy, read_secret, read_telegram

SECRET = b"0123456789abcdef"


def test_from_a_descriptor_that_is_closed_afterwards() -> None:
    reading, writing = os.pipe()
    os.write(writing, SECRET + b"\n")
    os.close(writing)
    environ = {"NATIVE_HOST_SECRET_FD": str(reading)}
    assert read_secret(environ) == SECRET
    assert environ == {}
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


def test_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\r\n")
    assert read_secret({"NATIVE_HOST_SECRET_FILE": str(file)}) == SECRET


def test_from_the_environment_where_no_child_finds_it() -> None:
    environ = {"NATIVE_HOST_SECRET": SECRET.decode(), "NATIVE_HOST_API_KEY": "k", "HOME": "/"}
    policy = read_policy(None, environ)
    assert policy.secret == SECRET
    assert policy.schemes == ["hmac-sha256", "api_key"]
    assert environ == {"HOME": "/"}


def test_without_any_nothing_is_required() -> None:
    assert not read_policy(None, {}).required


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"NATIVE_HOST_SECRET": ""}, "16 to 4096 bytes"),
        ({"NATIVE_HOST_SECRET": "short"}, "16 to 4096 bytes"),
        ({"NATIVE_HOST_SECRET_FD": "x"}, "no descriptor"),
        ({"NATIVE_HOST_SECRET_FD": "1"}, "no descriptor"),
        ({"NATIVE_HOST_SECRET_FD": "987654"}, "Bad file descriptor"),
        ({"NATIVE_HOST_SECRET_FILE": "/nonexistent"}, "No such file"),
        ({"NATIVE_HOST_API_KEY": " "}, "empty"),
        ({"NATIVE_HOST_TELEGRAM_SECRET": ""}, "16 to 256"),
        ({"NATIVE_HOST_TELEGRAM_SECRET": "with a space in it"}, "16 to 256"),
        ({"NATIVE_HOST_TELEGRAM_SECRET_FILE": "/nonexistent"}, "No such file"),
        ({"NATIVE_HOST_TELEGRAM_TOKEN": "1:abcdefghijkl"}, "without NATIVE_HOST_TELEGRAM_SECRET"),
        (
            {"NATIVE_HOST_TELEGRAM_SECRET": "0123456789abcdef", "NATIVE_HOST_TELEGRAM_TOKEN": "1:x/../y"},
            "no token",
        ),
    ],
)
def test_one_that_cannot_be_used_is_refused_and_not_ignored(environ: dict[str, str], told: str) -> None:
    with pytest.raises(SecretError, match=told):
        read_policy(None, environ)


@pytest.mark.parametrize("content", ["", "[]", '{"keys":[{"name":"a","sha256":"xyz"}]}', '{"keys":[],"x":1}'])
def test_a_bad_file_of_keys_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys.json"
    file.write_text(content)
    with pytest.raises(KeyFileError, match=r"keys\.json"):
        KeyStore(file)


def test_a_missing_file_of_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be read"):
        KeyStore(tmp_path / "none.json")


def test_telegrams_secret_and_token_are_taken_away_too(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("123:ABC-DEF_ghi\n")
    environ = {
        "NATIVE_HOST_TELEGRAM_SECRET": "0123456789abcdef",
        "NATIVE_HOST_TELEGRAM_TOKEN_FILE": str(file),
    }
    found = read_telegram(environ)
    assert found is not None
    assert (found.secret, found.token) == (SECRET, "123:ABC-DEF_ghi")
    assert "ABC" not in repr(found)
    assert environ == {}
    assert read_telegram({}) is None
