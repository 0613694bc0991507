"""A real host process on real pipes. Its service is a toy; the host command itself is tried at the end."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from native_host.protocol.frames import encode_frame

HERE = Path(__file__).parent
TOY = [sys.executable, str(HERE / "toy_host.py")]
REAL = [sys.executable, "-m", "native_host"]
ENVIRON = {**os.environ, "PYTHONPATH": f"{HERE.parent.parent}:{HERE}"}
INITIALIZE = {"protocol_version": "1", "client": {"name": "test", "version": "1"}}


class Child:
    """A host as a child, spoken with by hand."""

    def __init__(self, command: list[str], **more: Any) -> None:  # noqa: ANN401
        options: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        self.process = subprocess.Popen(command, env=ENVIRON, bufsize=0, **{**options, **more})

    def say(self, method: str, params: object, id_: object = 1) -> None:
        assert self.process.stdin is not None
        message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        self.process.stdin.write(encode_frame(json.dumps(message).encode()))

    def hear(self) -> Any:  # noqa: ANN401
        (length,) = struct.unpack("=I", self._read(4))
        return json.loads(self._read(length))

    def call(self, method: str, params: object) -> Any:  # noqa: ANN401
        self.say(method, params)
        return self.hear()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def _read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        found = b""
        while len(found) < count:
            piece = self.process.stdout.read(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found


@pytest.fixture
def spawn() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def make(command: list[str], **more: Any) -> Child:  # noqa: ANN401
        children.append(Child(command, **more))
        return children[-1]

    yield make
    for child in children:
        child.process.kill()
        child.process.communicate()


def ends_by_itself(process: subprocess.Popen[bytes]) -> int:
    """Its exit code."""
    return process.wait(timeout=60)


def test_stray_text_never_gets_among_the_frames(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    assert child.call("ping", {})["result"]["pong"] is True
    child.end_input()
    out, err = child.process.communicate()
    assert out == b""
    assert b"stray text" in err


def test_end_of_input_ends_the_host_with_0(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    child.say("generate", {"prompt": "wait"})
    child.end_input()
    assert ends_by_itself(child.process) == 0


def test_answers_that_are_queued_at_the_end_of_input_still_come(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    for n in range(2000):
        child.say("ping", {}, n)
    child.end_input()
    assert [child.hear()["id"] for _ in range(2000)] == list(range(2000))
    assert ends_by_itself(child.process) == 0


def test_end_of_input_is_seen_while_nothing_is_read(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    child.say("generate", {"prompt": "flood 100000"})
    assert child.process.stdout is not None
    select.select([child.process.stdout], [], [])
    child.end_input()
    assert ends_by_itself(child.process) == 0


def test_a_parent_that_vanishes_while_it_is_written_to_is_no_error(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    child.say("generate", {"prompt": "flood 100000"})
    child.hear()
    assert child.process.stdout is not None
    child.process.stdout.close()
    child.process.stdout = None
    _, log = child.process.communicate()
    assert child.process.returncode == 0
    assert b"connection.ended" in log
    assert b'"level":"error"' not in log


def test_shutdown_and_exit_end_the_host(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    assert child.call("shutdown", {})["result"] is None
    assert child.process.stdin is not None
    child.process.stdin.write(encode_frame(b'{"jsonrpc":"2.0","method":"exit"}'))
    assert ends_by_itself(child.process) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_the_host_in_order(spawn: Callable[..., Child], number: int) -> None:
    child = spawn(TOY)
    child.call("ping", {})
    child.process.send_signal(number)
    assert ends_by_itself(child.process) == 0


def test_the_parents_death_ends_the_host_although_its_input_stays_open(tmp_path: Path) -> None:
    """The parent is killed; this test holds the other end of the host's input, so there is no end of
    input."""
    reading, writing = os.pipe()
    out_reading, out_writing = os.pipe()
    script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({TOY!r}, stdin={reading}, stdout={out_writing})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        env=ENVIRON,
        pass_fds=[reading, out_writing],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    os.close(reading)
    os.close(out_writing)
    assert parent.stdout is not None
    host = int(parent.stdout.readline())
    watch = os.pidfd_open(host)
    os.write(writing, encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert b"pong" in os.read(out_reading, 1000)
    parent.kill()
    parent.wait()
    ready, _, _ = select.select([watch], [], [], 60)
    assert ready
    for descriptor in (writing, out_reading, watch):
        os.close(descriptor)


def test_a_large_frame_each_way(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    prompt = "x" * 20_000_000
    assert child.call("generate", {"prompt": prompt})["result"]["text"] == prompt


def test_files_may_stand_in_for_pipes(tmp_path: Path) -> None:
    requests = b"".join(encode_frame(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}' % n) for n in range(3))
    (tmp_path / "in").write_bytes(requests)
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        done = subprocess.run(
            TOY, env=ENVIRON, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, timeout=60
        )
    assert done.returncode == 0
    assert (tmp_path / "out").read_bytes().count(b"pong") == 3


def test_input_that_is_empty_from_the_start_ends_the_host_with_0() -> None:
    done = subprocess.run(TOY, env=ENVIRON, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"Traceback" not in done.stderr


def test_a_browsers_arguments_set_its_limits(spawn: Callable[..., Child]) -> None:
    child = spawn([*TOY, "chrome-extension://abcdefghijklmnopabcdefghijklmnop/"])
    answer = child.call("initialize", INITIALIZE)
    assert answer["result"]["limits"]["max_frame_out"] == 1_048_576


def test_a_log_that_nobody_reads_does_not_stop_the_host(spawn: Callable[..., Child]) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    for n in range(2000):  # several times what a pipe holds
        child.say("generate", {"prompt": "x"}, n)
        assert child.hear()["id"] == n


def test_the_host_command_answers_ping_with_no_argument_and_with_stdio(spawn: Callable[..., Child]) -> None:
    for command in (REAL, [*REAL, "stdio"]):
        child = spawn(command)
        assert child.call("ping", {})["result"]["pong"] is True
        child.end_input()
        assert ends_by_itself(child.process) == 0


def test_a_wrong_setting_is_one_line_and_exit_code_1() -> None:
    environ = {**ENVIRON, "NATIVE_HOST_SECRET": "short"}
    done = subprocess.run(REAL, env=environ, stdin=subprocess.PIPE, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"NATIVE_HOST_SECRET" in done.stderr
    assert done.stdout == b""


def test_the_secret_is_asked_for(spawn: Callable[..., Child]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a secret of the parent")
    os.close(writing)
    command = ["env", f"NATIVE_HOST_SECRET_FD={reading}", *REAL]
    child = spawn(command, pass_fds=[reading])
    os.close(reading)
    auth = child.call("initialize", INITIALIZE)["result"]["auth"]
    assert (auth["required"], auth["schemes"]) == (True, ["hmac-sha256"])
    for failure in range(3):
        error = child.call("authenticate", {"client_nonce": "00" * 32, "mac": "00" * 32})["error"]
        assert (error["code"], error["data"]["nonce"] != auth["nonce"]) == (-32001, True), failure
    with pytest.raises(EOFError):
        child.hear()
    assert ends_by_itself(child.process) == 0


@pytest.mark.parametrize("prompt", ["wait", "deaf"])
def test_what_runs_does_not_keep_it(spawn: Callable[..., Child], prompt: str) -> None:
    child = spawn(TOY)
    child.call("initialize", INITIALIZE)
    child.say("generate", {"prompt": prompt})
    child.call("ping", {})
    child.end_input()
    assert ends_by_itself(child.process) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_closed_standard_stream_is_one_line_and_exit_code_1(closed: str) -> None:
    command = f"'{sys.executable}' -m native_host {closed}"
    ended = subprocess.run(["sh", "-c", command], env=ENVIRON, capture_output=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count(b"\n") == 1
    assert b"must be open" in ended.stderr


def test_a_browsers_host_starts_although_its_log_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    command = [*REAL, "chrome-extension://abcdefghijklmnop/"]
    child = subprocess.Popen(
        command,
        env={**ENVIRON, "XDG_STATE_HOME": str(file)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    out, err = child.communicate(encode_frame(json.dumps(ping).encode()))
    assert b'"pong":true' in out
    assert b"log.file_unusable" in err
    assert child.returncode == 0


@pytest.mark.parametrize(
    "arguments",
    [["chrome-extension://id"], ["chrome-extension://id/", "more"], ["/a/manifest.json", "no id"]],
)
def test_what_only_looks_like_a_browsers_arguments_is_wrong_usage(arguments: list[str]) -> None:
    ended = subprocess.run([*REAL, *arguments], env=ENVIRON, capture_output=True, input=b"", check=False)
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert ended.stderr.count(b"\n") == 1
