"""The face for threads, against a fake host in a real child process."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from native_host.client import (
    BrokenStream,
    HandshakeError,
    Host,
    HostDied,
    HostTimeout,
    Progress,
    RpcError,
    wires,
)

from .conftest import hear


@pytest.fixture
def host(fake_host: list[str]) -> Iterator[Host]:
    with Host.spawn(fake_host) as host:
        yield host


def test_the_answer_streams_and_its_result_follows(host: Host) -> None:
    stream = host.chat("a b c")
    assert list(stream) == ["a", "b", "c"]
    assert stream.text == stream.result.message.content == "abc"
    assert stream.result.usage.completion_tokens == 2


def test_the_result_can_be_had_without_iterating(host: Host) -> None:
    assert host.chat([{"role": "user", "content": "a b"}]).result.message.content == "ab"


def test_generate_answers_at_once(host: Host) -> None:
    result = host.generate("x", max_tokens=3)
    assert (result.text, result.finish_reason, result.model) == ("ok", "stop", "fake")


def test_progress_reaches_the_callback(host: Host) -> None:
    seen: list[Progress] = []
    list(host.chat("a", on_progress=seen.append))
    assert [(step.stage, step.fraction, step.message) for step in seen] == [("load", 0.5, "halfway")]


def test_leaving_the_loop_early_cancels(host: Host) -> None:
    for piece in host.chat("a b c", ignore_eos=True):
        assert piece == "a"
        break
    assert host.call("cancellations") != []


def test_leaving_the_loop_over_a_kept_stream_cancels(host: Host) -> None:
    stream = host.chat("a b c", ignore_eos=True)
    for _ in stream:
        break
    gc.collect()
    assert stream.cancelled
    assert host.call("cancellations") != []
    with pytest.raises(RpcError) as refused:
        _ = stream.result
    assert refused.value.kind == "cancelled"


def test_a_cancelled_stream_ends_quietly_with_its_text(host: Host) -> None:
    stream = host.chat("a b c", ignore_eos=True)
    taken = []
    for piece in stream:
        taken.append(piece)
        if piece == "c":
            stream.cancel()
    assert taken == ["a", "b", "c"]
    assert stream.text == "abc"


def test_a_complete_answer_is_not_cancelled(host: Host) -> None:
    with host.chat("a b") as stream:
        list(stream)
    assert not stream.cancelled
    assert host.call("cancellations") == []


def test_an_error_has_its_kind(host: Host) -> None:
    with pytest.raises(RpcError, match="no model 'x'") as refused:
        host.call("refuse")
    assert refused.value.kind == "model_not_found"
    assert refused.value.data["model"] == "x"


def test_null_is_a_result(host: Host) -> None:
    assert host.call("nothing") is None
    host.unload("any")


def test_a_timeout_cancels_the_request_and_the_host_goes_on(host: Host) -> None:
    with pytest.raises(HostTimeout):
        host.generate("x", ignore_eos=True, timeout=0.05)
    assert host.call("cancellations") != []
    assert host.ping().pong


def test_a_timeout_ends_a_stream_too(host: Host) -> None:
    with pytest.raises(HostTimeout):
        list(host.chat("a b", ignore_eos=True, timeout=0.05))
    assert host.call("cancellations") != []


def test_a_long_result_comes_whole(host: Host) -> None:
    value = "ü" * 10_000
    assert host.call("long", {"value": value}) == value


def test_a_damaged_result_is_an_error_and_the_host_goes_on(host: Host) -> None:
    with pytest.raises(BrokenStream, match="checksum"):
        host.call("long", {"value": "x", "damage": True})
    assert host.ping().pong


def test_a_gap_is_an_error_and_the_host_goes_on(host: Host) -> None:
    with pytest.raises(BrokenStream, match="missing"):
        host.call("gap")
    assert host.ping().pong


def test_an_answer_of_another_type_is_an_error(host: Host) -> None:
    with pytest.raises(BrokenStream, match="tokenize"):
        host.tokenize("x")


def test_babble_ends_the_connection_for_everyone(host: Host) -> None:
    for _ in range(2):
        with pytest.raises(BrokenStream, match="no message"):
            host.call("babble")


def test_a_large_request_goes_through(host: Host) -> None:
    value = "x" * 5_000_000
    assert host.call("echo", {"value": value}) == {"value": value}


def test_sixteen_threads_share_one_host(host: Host) -> None:
    def ask(number: int) -> list[object]:
        return [host.call("echo", {"n": number * 1000 + step}) for step in range(50)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == [[{"n": number * 1000 + step} for step in range(50)] for number in range(16)]


def test_a_host_that_dies_is_reported_with_its_last_words(host: Host) -> None:
    with pytest.raises(HostDied) as died:
        host.call("die")
    assert died.value.exit_code == 7
    assert died.value.stderr == ("first the boiler failed", "then the engine")
    assert "exit code 7" in str(died.value)
    assert "then the engine" in str(died.value)


def test_everyone_who_waits_hears_of_the_death(host: Host) -> None:
    waiting = [threading.Event() for _ in range(3)]
    heard: list[BaseException] = []

    def wait(sent: threading.Event) -> None:
        stream = host.chat("a", ignore_eos=True)
        try:
            for _ in stream:
                sent.set()
        except HostDied as error:
            heard.append(error)

    threads = [threading.Thread(target=wait, args=(sent,)) for sent in waiting]
    for thread in threads:
        thread.start()
    assert all(sent.wait(10) for sent in waiting)
    os.kill(host.info.server.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    assert len(heard) == 3
    assert "signal 9" in str(heard[0])
    with pytest.raises(HostDied, match="signal 9"):
        host.ping()


def test_a_command_that_is_no_host_is_reported() -> None:
    with pytest.raises(HostDied, match="exit code 3"):
        Host.spawn(["/bin/sh", "-c", "exit 3"])


def test_a_command_that_does_not_exist_is_an_os_error() -> None:
    with pytest.raises(FileNotFoundError):
        Host.spawn(["/nonexistent/native-host"])


def test_after_close_it_says_so(fake_host: list[str]) -> None:
    host = Host.spawn(fake_host)
    host.close()
    host.close()
    with pytest.raises(HostDied, match="closed"):
        host.ping()


def test_the_secret_is_proved_by_both(fake_host: list[str]) -> None:
    with Host.spawn(fake_host, secret=b"a secret of 24 bytes....") as host:
        assert host.ping().pong


@pytest.mark.parametrize("secret", [b"too short", b"it ends with a line end\n", b"x" * 5000])
def test_a_secret_that_a_host_would_not_take_is_refused(fake_host: list[str], secret: bytes) -> None:
    with pytest.raises(ValueError, match="a secret has"):
        Host.spawn(fake_host, secret=secret)


def test_the_secret_is_in_no_environment(fake_host: list[str]) -> None:
    with Host.spawn(fake_host, secret=b"a secret of 24 bytes....") as host:
        environment = host.call("environment")
    assert isinstance(environment, dict)
    assert "a secret" not in "".join(environment.values())


def test_a_wrong_host_is_not_believed(fake_host: list[str]) -> None:
    with pytest.raises(HandshakeError, match="did not prove"):
        Host.spawn([*fake_host, "--impostor"], secret=b"a secret of 24 bytes....")


def test_the_child_has_only_its_own_descriptors(fake_host: list[str]) -> None:
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    try:
        with Host.spawn(fake_host) as host:
            descriptors = host.call("descriptors")
    finally:
        os.close(reading)
        os.close(writing)
    assert descriptors == 4, "stdin, stdout, stderr, and the folder that is being listed"


def test_stderr_reaches_the_log_callback(fake_host: list[str]) -> None:
    lines: list[str] = []
    with Host.spawn(fake_host, on_log=lines.append) as host, pytest.raises(HostDied):
        host.call("die")
    assert lines == ["first the boiler failed", "then the engine"]


def test_nobody_at_the_socket_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(HostDied, match="no host listens at"):
        Host.connect(tmp_path / "none.sock")


def test_a_process_of_another_user_is_told_nothing(
    silent_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, own = silent_socket.getsockname(), os.geteuid()
    with pytest.raises(HandshakeError, match=rf"of user {own} listens at {path}.*uid={own}"):
        Host.connect(path, api_key="hidden", uid=own + 1)
    assert hear(silent_socket) == b""
    for found in (own + 1, None):
        monkeypatch.setattr(wires, "peer_uid", lambda _, found=found: found)
        with pytest.raises(HandshakeError, match=f"listens at {path}"):
            Host.connect(path, api_key="hidden")
        assert hear(silent_socket) == b""


def test_another_user_can_be_trusted(fake_daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "peer_uid", lambda _: os.geteuid() + 1)
    with Host.connect(fake_daemon, uid=os.geteuid() + 1) as host:
        assert host.ping().pong
