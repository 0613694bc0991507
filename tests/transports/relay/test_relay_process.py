"""Relays as a browser starts them, before a daemon with a toy service: real processes, pipes and sockets."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from native_host.protocol.frames import encode_frame
from relay.browser_stand_in import ORIGIN, OTHER_ORIGIN, SOCKET, Port, environment

TOY = Path(__file__).parents[1] / "toy_host.py"
MOST_RELAY_BYTES = 25 * 1000 * 1000
MANY = 100


class Daemon:
    """A daemon with the toy service at the place where relays look."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.path = Path(environ["XDG_RUNTIME_DIR"]) / SOCKET
        toy = {**environ, "PYTHONPATH": os.pathsep.join([environ["PYTHONPATH"], str(TOY.parent)])}
        command = [sys.executable, str(TOY), "--socket", str(self.path)]
        self.process = subprocess.Popen(command, env=toy, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.process.stdout.readline()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


@pytest.fixture
def daemon(environ: dict[str, str]) -> Iterator[Daemon]:
    made = Daemon(environ)
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture
def port(daemon: Daemon, environ: dict[str, str]) -> Iterator[Port]:
    with Port(environ) as port:
        yield port


def test_the_daemon_answers_and_the_browsers_limit_holds(port: Port, daemon: Daemon) -> None:
    told = port.open(origin=OTHER_ORIGIN, max_frame_in=60_000_000)
    assert told["server"]["pid"] == daemon.process.pid != port.process.pid
    assert told["limits"]["max_frame_out"] == 1_048_576
    assert port.call("generate", {"prompt": "hello"})["result"]["text"] == "hello"


def test_without_a_daemon_it_is_the_host_itself(environ: dict[str, str]) -> None:
    with Port(environ) as port:
        assert port.open()["server"]["pid"] == port.process.pid
        assert port.close() == 0


def test_it_may_be_told_to_use_none(daemon: Daemon, environ: dict[str, str]) -> None:
    with Port({**environ, "NATIVE_HOST_DAEMON": "never"}) as port:
        assert port.open()["server"]["pid"] == port.process.pid


@pytest.mark.parametrize("way", ["join", "never"])
def test_an_extension_without_a_grant_is_told_the_way_out(
    daemon: Daemon, environ: dict[str, str], way: str
) -> None:
    stranger = f"chrome-extension://{'c' * 32}/"
    with Port({**environ, "NATIVE_HOST_DAEMON": way}, stranger) as port:
        assert (port.open()["server"]["pid"] == daemon.process.pid) is (way == "join")
        refused = port.call("generate", {"prompt": "x"})["error"]
        assert refused["data"] == {"kind": "permission_denied", "scope": "infer"}
        assert f"native-host grants grant {stranger}" in refused["message"]


def test_large_frames_pass_both_ways_and_are_not_held(port: Port) -> None:
    port.open()
    answers: list[str] = []
    ask = threading.Thread(target=port.say, args=("generate", {"prompt": "x" * 30_000_000}))
    ask.start()
    result = port.answer()["result"]
    ask.join()
    assert result["chunked"] is True
    chunks = [each for each in port.notified if each.get("method") == "$/chunk"]
    assert [each["params"]["index"] for each in chunks] == list(range(result["chunks"]))
    assert answers == []
    assert psutil.Process(port.process.pid).memory_info().rss < MOST_RELAY_BYTES


def test_a_long_answer_comes_in_frames_that_the_browser_takes(port: Port) -> None:
    port.open()
    assert port.call("generate", {"prompt": "long 5000000"})["result"]["chunked"] is True
    assert all(len(each["params"]["data"]) <= 64 * 1024 for each in port.notified)


def test_what_is_sent_at_once_is_answered(port: Port) -> None:
    about = {"protocol_version": "1", "client": {"name": "test", "version": "1"}}
    port.say("ping", {}, 1)
    port.say("initialize", about, 2)
    port.say("generate", {"prompt": "x" * 200_000}, 3)
    assert port.answer(3)["result"]["text"] == "x" * 200_000


def test_a_browser_that_does_not_read_makes_the_work_wait(port: Port, environ: dict[str, str]) -> None:
    port.open()
    port.say("generate", {"prompt": "flood 100000"}, 1)
    assert port.process.stdout is not None
    select.select([port.process.stdout], [], [])
    with Port(environ, OTHER_ORIGIN) as other:
        other.open()
        for _ in range(20):
            assert other.call("generate", {"prompt": "hello"})["result"]["text"] == "hello"
    assert psutil.Process(port.process.pid).memory_info().rss < MOST_RELAY_BYTES
    assert port.close() == 0


def test_ten_thousand_small_notifications_pass(port: Port) -> None:
    port.open()
    asking = threading.Thread(target=port.say, args=("generate", {"prompt": "flood 10000", "stream": True}))
    asking.start()
    port.answer()
    asking.join()
    streamed = [each["params"]["seq"] for each in port.notified if each["method"] == "$/stream"]
    assert streamed == list(range(10_000))


def test_answers_that_are_under_way_at_the_end_still_come(port: Port) -> None:
    port.open()
    for number in range(MANY):
        port.say("ping", {}, number)
    assert port.process.stdin is not None
    port.process.stdin.close()
    port.process.stdin = None
    assert [port.hear()["id"] for _ in range(MANY)] == list(range(MANY))
    assert port.process.wait(timeout=60) == 0


@pytest.mark.parametrize("said", [b"", b"\x05\0\0", encode_frame(b"x" * 5000)[:3000]])
def test_the_end_of_input_ends_it_wherever_it_comes(port: Port, said: bytes) -> None:
    port.write(said)
    assert port.close() == 0


def test_half_a_frame_after_the_introduction_ends_with_it(port: Port, daemon: Daemon) -> None:
    port.open()
    port.write(encode_frame(b"x" * 500_000)[:300_000])
    assert port.close() == 0
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(daemon.path))
        peer.sendall(encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
        assert b"pong" in peer.recv(1000)


def test_a_daemon_that_is_killed_ends_the_port(port: Port, daemon: Daemon) -> None:
    port.open()
    port.say("generate", {"prompt": "wait"})
    port.call("ping", {}, 2)
    daemon.process.kill()
    with pytest.raises(EOFError):
        port.hear()
    assert port.process.wait(timeout=60) == 0


def test_a_daemon_that_is_killed_while_it_is_written_to_ends_the_port(port: Port, daemon: Daemon) -> None:
    port.open()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    writing = threading.Thread(target=_write_until_broken, args=(port,))
    writing.start()
    daemon.process.kill()
    assert port.process.wait(timeout=60) == 0
    writing.join()


def _write_until_broken(port: Port) -> None:
    try:
        port.write(encode_frame(b"x" * 40_000_000))
    except BrokenPipeError:
        return


def test_a_browser_that_closes_while_the_daemon_takes_nothing_is_noticed(port: Port, daemon: Daemon) -> None:
    port.open()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    assert port.process.stdin is not None
    os.set_blocking(port.process.stdin.fileno(), False)
    data, refused = b"x" * 65536, 0
    while refused < 3:  # full, and nobody empties it any more
        try:
            os.write(port.process.stdin.fileno(), data)
        except BlockingIOError:
            refused += 1
            select.select([], [port.process.stdin], [], 0.3)
    assert port.close() == 0


def test_a_browser_that_reads_no_more_ends_it(port: Port) -> None:
    port.open()
    assert port.process.stdout is not None
    port.process.stdout.close()
    port.process.stdout = None
    assert port.process.wait(timeout=60) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(port: Port, number: int) -> None:
    port.open()
    port.process.send_signal(number)
    assert port.process.wait(timeout=60) == 0


def test_the_browsers_death_ends_it_although_its_input_stays_open(
    daemon: Daemon, environ: dict[str, str]
) -> None:
    reading, writing = os.pipe()
    out_reading, out_writing = os.pipe()
    script = (
        "import subprocess, sys, time\n"
        f"command = [sys.executable, '-m', 'native_host', {ORIGIN!r}]\n"
        f"child = subprocess.Popen(command, stdin={reading}, stdout={out_writing})\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    browser = subprocess.Popen(
        [sys.executable, "-c", script],
        env=environ,
        pass_fds=[reading, out_writing],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    os.close(reading)
    os.close(out_writing)
    assert browser.stdout is not None
    watch = os.pidfd_open(int(browser.stdout.readline()))
    os.write(writing, encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
    assert b"pong" in os.read(out_reading, 1000)
    browser.kill()
    browser.communicate()
    ready, _, _ = select.select([watch], [], [], 60)
    assert ready
    for descriptor in (writing, out_reading, watch):
        os.close(descriptor)


def test_a_socket_that_nobody_listens_at_is_no_daemon(environ: dict[str, str]) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(Path(environ["XDG_RUNTIME_DIR"]) / SOCKET))
    with Port(environ) as port:
        assert port.open()["server"]["pid"] == port.process.pid


def test_a_folder_that_others_write_to_is_not_trusted(daemon: Daemon, environ: dict[str, str]) -> None:
    daemon.path.parent.chmod(0o777)
    with Port(environ) as port:
        assert port.open()["server"]["pid"] == port.process.pid
        port.close()
        assert port.process.stderr is not None
        assert b"chmod 700" in port.process.stderr.read()


def test_what_is_no_browsers_arguments_is_refused_although_there_is_a_daemon(
    daemon: Daemon, environ: dict[str, str]
) -> None:
    with Port(environ, "chrome-extension://id") as port:
        assert port.process.wait(timeout=60) == 2
