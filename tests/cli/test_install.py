"""`native-host install`, `uninstall`, and what `doctor` says of them."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from cli.conftest import Run

ID = "abcdefghijklmnopabcdefghijklmnop"
OTHER = "p" * 32
ADDON = "host@example.org"
FILE = "com.tabagent.host.json"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The host as a program of its own, as pip installs it."""
    file = tmp_path / "native-host"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m native_host "$@"\n')
    file.chmod(0o755)
    return file


@pytest.fixture
def chromium(tmp_path: Path) -> Path:
    """The folder of a Chromium that was used before; the manifests' one is not there yet."""
    folder = tmp_path / ".config" / "chromium"
    folder.mkdir(parents=True)
    return folder / "NativeMessagingHosts"


def test_the_browsers_that_the_user_has_learn_of_the_host(run: Run, program: Path, chromium: Path) -> None:
    (chromium.parents[2] / ".mozilla").mkdir()
    done = run("install", "--program", program, "--extension-id", ID, "--extension-id", ADDON)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((chromium / FILE).read_bytes())
    assert manifest == {
        "name": "com.tabagent.host",
        "description": "A local AI host",
        "path": str(program),
        "type": "stdio",
        "allowed_origins": [f"chrome-extension://{ID}/"],
    }
    firefox = chromium.parents[2] / ".mozilla" / "native-messaging-hosts" / FILE
    assert json.loads(firefox.read_bytes())["allowed_extensions"] == [ADDON]
    assert stat.S_IMODE((chromium / FILE).stat().st_mode) == 0o644
    assert not (chromium.parents[1] / "google-chrome").exists()


def test_once_more_changes_nothing_and_other_extensions_take_the_place(
    run: Run, program: Path, chromium: Path
) -> None:
    def install(*ids: str) -> object:
        named = [argument for each in ids for argument in ("--extension-id", each)]
        done = run("install", "--program", program, "--browser", "chromium", "--json", *named)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["what"]

    assert install(ID) == "installed"
    assert install(ID) == "unchanged"
    assert install(OTHER, ID, OTHER) == "updated"
    origins = json.loads((chromium / FILE).read_bytes())["allowed_origins"]
    assert origins == [f"chrome-extension://{OTHER}/", f"chrome-extension://{ID}/"]
    assert [file.name for file in chromium.iterdir()] == [FILE]


def test_a_folder_may_be_named(run: Run, program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "profile" / "NativeMessagingHosts"
    arguments = ["--browser", "chrome", "--dir", folder]
    assert run("install", "--program", program, "--extension-id", ID, *arguments).returncode == 0
    assert (folder / FILE).is_file()
    done = run("uninstall", "--json", *arguments)
    assert json.loads(done.stdout) == [{"browser": "chrome", "what": "removed", "file": str(folder / FILE)}]
    assert not (folder / FILE).exists()
    assert json.loads(run("uninstall", "--json", *arguments).stdout)[0]["what"] == "absent"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--extension-id", "short"], "'short' is no extension's id"),
        (["--extension-id", ID.upper()], "is no extension's id"),
        (["--extension-id", f"{ID}/"], "is no extension's id"),
        (["--extension-id", ID, "--browser", "lynx"], "'lynx' is no browser"),
        (["--extension-id", ADDON, "--browser", "chromium"], "none of these ids"),
        (["--extension-id", ID], "no browser of this user was found"),
        (["--extension-id", ID, "--dir", "x"], "--dir is one browser's folder"),
        (["--extension-id", ID, "--browser", "brave", "--system"], "no folder for all users"),
        (["--extension-id", ID, "--browser", "chrome", "--program", "/nowhere"], "no program /nowhere"),
        (["--extension-id", ID, "--browser", "chrome", "--program", "/etc/passwd"], "cannot be executed"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    run: Run, program: Path, tmp_path: Path, arguments: list[str], told: str
) -> None:
    if "--program" not in arguments:
        arguments = [*arguments, "--program", str(program)]
    done = run("install", *arguments)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob(FILE))


def test_an_id_is_wanted(run: Run) -> None:
    assert run("install", "--browser", "chrome").returncode == 2


def browsers(run: Run) -> dict[str, dict[str, str]]:
    found = json.loads(run("doctor", "--json").stdout)
    return {each["check"]: each for each in found}


def test_doctor_starts_the_host_as_the_browser_would(run: Run, program: Path, chromium: Path) -> None:
    assert "no browser knows the host" in browsers(run)["browsers"]["detail"]
    arguments = ["--program", program, "--browser", "chromium", "--browser", "firefox"]
    done = run("install", "--extension-id", ID, "--extension-id", ADDON, *arguments)
    assert done.returncode == 0, done.stderr
    found = browsers(run)
    assert found["chromium"]["state"] == found["firefox"]["state"] == "ok"
    program.write_text("#!/bin/sh\nexit 3\n")
    found = browsers(run)
    assert found["chromium"]["state"] == "failed"
    assert "native-host install --browser chromium" in found["chromium"]["way_out"]


def test_doctor_starts_no_daemon(run: Run, program: Path, chromium: Path, tmp_path: Path) -> None:
    arguments = ["--extension-id", ID, "--program", program, "--browser", "chromium", "--daemon"]
    assert run("install", *arguments).returncode == 0
    seen = tmp_path / "seen"
    program.write_text(f'#!/bin/sh\necho "$NATIVE_HOST_DAEMON" > {seen}\nexit 3\n')
    browsers(run)
    assert seen.read_text() == "join\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "org.other"}, "its name is 'org.other'"),
        ({"path": "native-host"}, "not an absolute path"),
        ({"path": "/nowhere/native-host"}, "there is no program"),
        ({"type": "pipe"}, "its type is 'pipe'"),
        ({"allowed_origins": []}, "it allows no extension"),
        ({"allowed_origins": [f"chrome-extension://{ID}"]}, "is no extension's origin"),
        ({"allowed_origins": 7}, "it is no manifest"),
    ],
)
def test_doctor_says_what_is_wrong_with_a_manifest(
    run: Run, program: Path, chromium: Path, change: dict[str, object], told: str
) -> None:
    run("install", "--program", program, "--browser", "chromium", "--extension-id", ID)
    file = chromium / FILE
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **change}))
    found = browsers(run)["chromium"]
    assert found["state"] == "failed"
    assert told in found["detail"]


@pytest.mark.parametrize("which", ["manifest", "program"])
def test_doctor_sees_what_everybody_may_change(run: Run, program: Path, chromium: Path, which: str) -> None:
    run("install", "--program", program, "--browser", "chromium", "--extension-id", ID)
    file = chromium / FILE if which == "manifest" else program
    file.chmod(0o777)
    found = browsers(run)["chromium"]
    assert found["state"] == "failed"
    assert f"chmod o-w {file}" in found["detail"]


def test_a_link_to_the_program_stays_a_link(run: Run, program: Path, chromium: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(program)
    run("install", "--program", link, "--browser", "chromium", "--extension-id", ID)
    assert json.loads((chromium / FILE).read_bytes())["path"] == str(link)
