"""`native-host keys`: real processes, and a daemon that heeds what they do at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from native_host.client import Host, RpcError

from .conftest import Run, daemon


def test_a_key_opens_a_daemon_until_it_is_revoked(
    run: Run, environment: dict[str, str], models_json: Path, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    made = run("keys", "create", "bot", "--scope", "models.read", "--file", file, "--json")
    key = json.loads(made.stdout)["key"]
    with daemon({**environment, "NATIVE_HOST_API_KEYS_FILE": str(file)}, models_json) as socket:
        with Host.connect(socket, api_key=key) as host:
            assert host.models()
            with pytest.raises(RpcError) as refused:
                host.generate("x")
            assert refused.value.data["scope"] == "infer"
            assert run("keys", "revoke", "bot", "--file", file).returncode == 0
            with pytest.raises(RpcError, match="revoked"):
                host.models()
        with pytest.raises(RpcError, match="no such API key"):
            Host.connect(socket, api_key=key)


def test_the_key_alone_is_on_stdout(run: Run) -> None:
    made = run("keys", "create", "bot")
    assert made.returncode == 0
    assert re.fullmatch(r"nh_[A-Za-z0-9_-]{43}\n", made.stdout)
    assert "not shown again" in made.stderr


def test_the_list_shows_everything_but_keys(run: Run, tmp_path: Path) -> None:
    options = ["--requests-per-minute", "60", "--tokens-per-day", "5000", "--concurrent", "4"]
    key = run("keys", "create", "bot", "--scope", "infer", *options, "--expires", "30d").stdout.strip()
    run("keys", "create", "all")
    shown = run("keys", "list")
    assert shown.returncode == 0
    assert "60 requests/min, 5,000 tokens/day, 4 at once" in shown.stdout
    assert key not in shown.stdout
    listed = json.loads(run("keys", "list", "--json").stdout)
    assert [one["name"] for one in listed] == ["bot", "all"]
    assert listed[0]["scopes"] == ["infer"]
    assert listed[0]["quotas"] == {"requests_per_minute": 60, "tokens_per_day": 5000, "concurrent": 4}
    assert listed[0]["expires"] > listed[0]["created"]
    assert not any("key" in one or "sha256" in one for one in listed)
    kept = (tmp_path / ".config" / "native-host" / "keys.json").read_text()
    assert key not in kept


def test_without_keys_the_list_says_how_to_make_one(run: Run) -> None:
    shown = run("keys", "list")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "keys create NAME" in shown.stderr
    assert json.loads(run("keys", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["create", "a b"], 1, "is no name for a key"),
        (["create", "x", "--scope", "everything"], 2, "no scope"),
        (["create", "x", "--expires", "soon"], 2, "neither a time"),
        (["create", "x", "--expires", "2001-01-01"], 2, "has passed"),
        (["create", "x", "--expires", "9000000d"], 2, "out of range"),
        (["create", "x", "--requests-per-minute", "0"], 2, "--requests-per-minute"),
        (["revoke", "x"], 1, "no key 'x'; there is none"),
        (["create", "x", "--file", "/dev/null/keys.json"], 1, "/dev/null"),
        (["create"], 2, "name"),
    ],
)
def test_wrong_usage(run: Run, arguments: list[str], code: int, told: str) -> None:
    refused = run("keys", *arguments)
    assert refused.returncode == code
    assert refused.stdout == ""
    assert told.lower() in refused.stderr.lower()
    assert "Traceback" not in refused.stderr


def test_a_broken_file_is_one_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text("{")
    for arguments in (["list"], ["create", "x"], ["revoke", "x"]):
        refused = run("keys", *arguments, "--file", file)
        assert refused.returncode == 1
        assert "keys.json" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert file.read_text() == "{"
