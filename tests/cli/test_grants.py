"""`native-host grants`, and what `install`, `uninstall` and `doctor` have to do with them: real processes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from native_host.client import Host, RpcError

from .conftest import Run, daemon
from .test_install import ADDON, ID, OTHER, chromium, program

__all__ = ["chromium", "program"]

ORIGIN = f"chrome-extension://{ID}/"
DEFAULT = ["infer", "models.load", "models.read"]


def listed(run: Run) -> dict[str, Any]:
    found = json.loads(run("grants", "list", "--json").stdout)
    return {each["origin"]: each for each in found}


def install(run: Run, program: Path, *ids: str, more: tuple[str, ...] = ()) -> None:
    named = [argument for each in ids for argument in ("--extension-id", each)]
    done = run("install", "--browser", "chromium", "--program", program, *named, *more)
    assert done.returncode == 0, done.stderr


def checks(run: Run, name: str) -> list[dict[str, str]]:
    return [each for each in json.loads(run("doctor", "--json").stdout) if each["check"] == name]


def test_what_is_granted_is_listed_and_can_be_taken_back(run: Run) -> None:
    assert "install --extension-id" in run("grants", "list").stderr
    assert run("grants", "grant", ID, "--tokens-per-day", "5000").stdout == (
        f"{ORIGIN} may: infer, models.load, models.read; 5,000 tokens/day\n"
    )
    assert json.loads(run("grants", "grant", ADDON, "--scope", "infer", "--json").stdout)["scopes"] == [
        "infer"
    ]
    assert listed(run)[ORIGIN]["quotas"] == {"tokens_per_day": 5000}
    shown = run("grants", "list").stdout
    assert ORIGIN in shown
    assert ADDON in shown
    assert run("grants", "revoke", ORIGIN, "--scope", "models.load").stdout == (
        f"{ORIGIN} may: infer, models.read; 5,000 tokens/day\n"
    )
    assert json.loads(run("grants", "revoke", ID, "--json").stdout) == {"origin": ORIGIN, "revoked": True}
    assert list(listed(run)) == [ADDON]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["grant", "short"], 1, "'short' names no extension"),
        (["grant", ID, "--scope", "fly"], 2, "fly"),
        (["grant", ID, "--concurrent", "0"], 2, "concurrent"),
        (["revoke", ID], 1, "has no grant; there is none"),
        (["grant"], 2, ""),
    ],
)
def test_what_cannot_be_is_refused(run: Run, arguments: list[str], code: int, told: str) -> None:
    done = run("grants", *arguments)
    assert done.returncode == code
    assert told in done.stderr


def test_installing_grants_and_uninstalling_takes_it_away(run: Run, program: Path, chromium: Path) -> None:
    install(run, program, ID, OTHER)
    assert {origin: each["scopes"] for origin, each in listed(run).items()} == {
        ORIGIN: DEFAULT,
        f"chrome-extension://{OTHER}/": DEFAULT,
    }
    run("grants", "grant", ID, "--scope", "models.write")
    install(run, program, ID)
    assert list(listed(run)) == [ORIGIN]
    assert "models.write" in listed(run)[ORIGIN]["scopes"]
    run("grants", "revoke", ID)
    assert listed(run) == {}
    install(run, program, ID)
    assert listed(run)[ORIGIN]["scopes"] == DEFAULT
    assert run("uninstall", "--browser", "chromium").returncode == 0
    assert listed(run) == {}


def test_a_file_that_is_not_sound_is_told(run: Run, program: Path, chromium: Path, tmp_path: Path) -> None:
    file = tmp_path / ".config" / "native-host" / "grants.json"
    file.parent.mkdir(parents=True)
    file.write_text("{")
    done = run("install", "--browser", "chromium", "--program", program, "--extension-id", ID)
    assert done.returncode == 1
    assert "nothing was granted" in done.stderr
    assert run("grants", "list").returncode == 1
    (found,) = checks(run, "grants")
    assert found["state"] == "failed"


def test_doctor_says_what_each_extension_may_do(run: Run, program: Path, chromium: Path) -> None:
    install(run, program, ID, OTHER)
    run("grants", "revoke", OTHER)
    allowed, refused = checks(run, "grants")
    assert allowed["state"] == "ok"
    assert "infer" in allowed["detail"]
    assert refused["way_out"] == f"`native-host grants grant chrome-extension://{OTHER}/` lets it"


def test_browsers_may_be_told_to_start_a_daemon(
    run: Run, program: Path, chromium: Path, tmp_path: Path
) -> None:
    file = tmp_path / ".config" / "native-host" / "sharing.json"
    install(run, program, ID)
    assert not file.exists()
    install(run, program, ID, more=("--daemon", "--idle-exit", "2m"))
    assert json.loads(file.read_bytes()) == {"daemon": "start", "idle_exit": "2m"}
    install(run, program, ID)
    (found,) = checks(run, "sharing")
    assert "ends when idle for 2m" in found["detail"]
    for wrong in (["--idle-exit", "2m"], ["--daemon", "--idle-exit", "-1"]):
        done = run("install", "--browser", "chromium", "--program", program, "--extension-id", ID, *wrong)
        assert done.returncode == 2
        assert "--idle-exit" in done.stderr
    install(run, program, ID, more=("--no-daemon",))
    assert json.loads(file.read_bytes()) == {}
    run("uninstall", "--browser", "chromium")
    assert not file.exists()


def test_a_daemon_heeds_it_at_once(run: Run, environment: dict[str, str], models_json: Path) -> None:
    browser = [sys.executable, "-m", "native_host", ORIGIN]
    with daemon(environment, models_json), Host.spawn(browser, env=environment) as host:
        with pytest.raises(RpcError, match="native-host grants grant"):
            host.models()
        run("grants", "grant", ID)
        assert host.models()
        with pytest.raises(RpcError) as refused:
            host.hardware()
        assert refused.value.data["scope"] == "system"
        run("grants", "revoke", ID)
        with pytest.raises(RpcError, match="native-host grants grant"):
            host.models()
