"""A daemon that a relay starts, and that ends when nobody needs it any more."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from end_to_end.processes import survivors

from relay.browser_stand_in import OTHER_ORIGIN, ROOT, SOCKET, Port, environment

ENDS_S = 60


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where relays start daemons, which are ended with the test."""
    made = environment(tmp_path, NATIVE_HOST_DAEMON="start", NATIVE_HOST_IDLE_EXIT="3")
    yield made
    for process in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            survivors([process])


def pid_of(port: Port) -> int:
    """The process that answers."""
    found = port.open()["server"]["pid"]
    assert isinstance(found, int)
    return found


def test_it_is_started_shared_and_ends_when_it_is_idle(environ: dict[str, str], tmp_path: Path) -> None:
    with Port(environ) as one, Port(environ, OTHER_ORIGIN) as other:
        daemon = pid_of(one)
        assert daemon == pid_of(other)
        assert daemon not in (one.process.pid, other.process.pid)
        assert os.getsid(daemon) == daemon  # what ends the browser does not end it
        assert one.call("generate", {"prompt": "hello", "max_tokens": 3})["result"]["text"]
        processes = [psutil.Process(daemon), *psutil.Process(daemon).children(recursive=True)]
        assert (one.close(), other.close()) == (0, 0)
    assert survivors(processes) == []
    assert not (Path(environ["XDG_RUNTIME_DIR"]) / SOCKET).exists()
    log = (tmp_path / ".local/state/native-host/log/native-host.log").read_text()
    assert "daemon.idle" in log


def test_nothing_is_imported_from_the_folder_that_a_relay_is_started_in(
    environ: dict[str, str], tmp_path: Path
) -> None:
    folder, ran = tmp_path / "downloads", tmp_path / "ran"
    folder.mkdir()
    for name in ("typing", "runpy", "asyncio", "msgspec", "typer", "native_host", "sitecustomize"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r} + chr(10))\n")
    program = folder / "program" / "native-host"  # as it is installed: imports begin in its own folder
    program.parent.mkdir()
    program.write_text("import sys\nfrom native_host.__main__ import main\nsys.exit(main())\n")
    with Port({**environ, "PYTHONPATH": str(ROOT)}, cwd=folder, program=str(program)) as port:
        assert pid_of(port) != port.process.pid
    assert not ran.exists()


def test_relays_that_come_together_start_one(environ: dict[str, str]) -> None:
    ports = [Port(environ) for _ in range(6)]
    try:
        with ThreadPoolExecutor(len(ports)) as pool:
            assert len(set(pool.map(pid_of, ports))) == 1
    finally:
        for port in ports:
            port.__exit__()


def test_a_new_one_takes_the_place_of_one_that_was_killed(environ: dict[str, str]) -> None:
    with Port(environ) as port:
        first = pid_of(port)
        os.kill(first, signal.SIGKILL)
        assert port.process.wait(timeout=ENDS_S) == 0
    with Port(environ) as port:
        assert pid_of(port) not in (first, port.process.pid)


def test_again_and_again_while_it_ends(environ: dict[str, str]) -> None:
    """Whatever the daemon does at the moment, each relay gets an answer."""
    quick = {**environ, "NATIVE_HOST_IDLE_EXIT": "0.3"}
    for _ in range(5):
        with Port(quick) as port:
            assert port.call("ping", {})["result"]["pong"] is True
            assert port.close() == 0


def test_one_that_cannot_start_leaves_the_relay_to_be_the_host(environ: dict[str, str]) -> None:
    (Path(environ["XDG_RUNTIME_DIR"]) / SOCKET).write_text("a file")
    with Port(environ) as port:
        assert pid_of(port) == port.process.pid
        port.close()
        assert port.process.stderr is not None
        assert b"no daemon comes to listen" in port.process.stderr.read()


def test_a_browser_that_goes_meanwhile_ends_the_relay(environ: dict[str, str]) -> None:
    with Port(environ) as port:
        assert port.close() == 0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"daemon": "start", "idle_exit": "1m"}, None),
        ({"daemon": "sometimes"}, b"sharing.json"),
        ({"other": 1}, b"sharing.json"),
    ],
)
def test_the_users_file_says_so_too(environ: dict[str, str], content: object, said: bytes | None) -> None:
    file = Path(environ["HOME"]) / ".config/native-host/sharing.json"
    file.write_text(json.dumps(content))
    plain = {name: value for name, value in environ.items() if not name.startswith("NATIVE_HOST")}
    with Port(plain) as port:
        found = pid_of(port)
        assert (found == port.process.pid) is (said is not None)
        port.close()
        assert port.process.stderr is not None
        assert (said or b"") in port.process.stderr.read()


def test_a_wrong_setting_is_one_line(environ: dict[str, str]) -> None:
    with Port({**environ, "NATIVE_HOST_DAEMON": "perhaps"}) as port:
        assert port.process.wait(timeout=ENDS_S) == 1
        assert port.process.stderr is not None
        assert b"NATIVE_HOST_DAEMON" in port.process.stderr.read()


def test_serve_alone_ends_when_it_is_idle(environ: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "native_host", "serve", "--socket", str(tmp_path / "own.sock")]
    done = subprocess.run([*command, "--idle-exit", "0.3"], env=environ, check=False, timeout=ENDS_S)
    assert done.returncode == 0
    wrong = subprocess.run([*command, "--idle-exit", "-1"], env=environ, check=False, capture_output=True)
    assert wrong.returncode == 2
    assert b"--idle-exit" in wrong.stderr
