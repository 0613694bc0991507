"""The face for asyncio, against a fake host in a real child process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from native_host.client import (
    AsyncHost,
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


@pytest_asyncio.fixture
async def host(fake_host: list[str]) -> AsyncIterator[AsyncHost]:
    async with AsyncHost.spawn(fake_host) as host:
        yield host


def test_both_faces_have_the_same_names() -> None:
    def public(face: type) -> set[str]:
        return {name for name in vars(face) if not name.startswith("_")}

    assert public(Host) == public(AsyncHost)


async def test_the_answer_streams_and_its_result_follows(host: AsyncHost) -> None:
    stream = host.chat("a b c")
    assert [piece async for piece in stream] == ["a", "b", "c"]
    assert stream.text == (await stream.result).message.content == "abc"


async def test_generate_answers_at_once(host: AsyncHost) -> None:
    assert (await host.generate("x", max_tokens=3)).text == "ok"


async def test_progress_reaches_the_callback(host: AsyncHost) -> None:
    seen: list[Progress] = []
    async for _ in host.chat("a", on_progress=seen.append):
        pass
    assert [step.message for step in seen] == ["halfway"]


async def test_leaving_the_loop_early_cancels(host: AsyncHost) -> None:
    async for piece in host.chat("a b c", ignore_eos=True):
        assert piece == "a"
        break
    await host.ping()  # a turn of the loop, in which the abandoned generator is closed
    assert await host.call("cancellations") != []


async def test_cancelling_the_task_cancels_the_answer(host: AsyncHost) -> None:
    first = asyncio.Event()

    async def read() -> None:
        async for _ in host.chat("a", ignore_eos=True):
            first.set()

    task = asyncio.create_task(read())
    await first.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await host.call("cancellations") != []


async def test_a_cancelled_stream_ends_quietly_with_its_text(host: AsyncHost) -> None:
    stream = host.chat("a b", ignore_eos=True)
    async for piece in stream:
        if piece == "b":
            stream.cancel()
    assert stream.text == "ab"
    with pytest.raises(RpcError, match="cancelled"):
        await stream.result


async def test_a_timeout_cancels_the_request_and_the_host_goes_on(host: AsyncHost) -> None:
    with pytest.raises(HostTimeout):
        await host.generate("x", ignore_eos=True, timeout=0.05)
    assert await host.call("cancellations") != []


async def test_an_error_has_its_kind(host: AsyncHost) -> None:
    with pytest.raises(RpcError) as refused:
        await host.call("refuse")
    assert refused.value.kind == "model_not_found"


async def test_many_requests_share_one_host(host: AsyncHost) -> None:
    answers = await asyncio.gather(*(host.call("echo", {"n": number}) for number in range(500)))
    assert answers == [{"n": number} for number in range(500)]


async def test_a_large_request_goes_through(host: AsyncHost) -> None:
    value = "x" * 5_000_000
    assert await host.call("echo", {"value": value}) == {"value": value}


async def test_a_host_that_dies_is_reported_with_its_last_words(host: AsyncHost) -> None:
    with pytest.raises(HostDied, match="then the engine") as died:
        await host.call("die")
    assert died.value.exit_code == 7


async def test_a_killed_host_is_reported(host: AsyncHost) -> None:
    stream = host.chat("a", ignore_eos=True)

    async def read() -> None:
        async for _ in stream:
            os.kill(host.info.server.pid, signal.SIGKILL)

    with pytest.raises(HostDied, match="signal 9"):
        await read()


async def test_babble_ends_the_connection(host: AsyncHost) -> None:
    for _ in range(2):
        with pytest.raises(BrokenStream):
            await host.call("babble")


async def test_spawn_can_be_awaited(fake_host: list[str]) -> None:
    host = await AsyncHost.spawn(fake_host)
    assert (await host.ping()).pong
    await host.close()
    with pytest.raises(HostDied, match="closed"):
        await host.ping()


async def test_the_secret_is_proved_by_both(fake_host: list[str]) -> None:
    async with AsyncHost.spawn(fake_host, secret=b"a secret of 24 bytes....") as host:
        assert (await host.ping()).pong
    with pytest.raises(HandshakeError, match="did not prove"):
        await AsyncHost.spawn([*fake_host, "--impostor"], secret=b"a secret of 24 bytes....")


async def test_a_command_that_is_no_host_is_reported() -> None:
    with pytest.raises(HostDied, match="exit code 3"):
        await AsyncHost.spawn(["/bin/sh", "-c", "exit 3"])


async def test_nobody_at_the_socket_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(HostDied, match="no host listens at"):
        await AsyncHost.connect(tmp_path / "none.sock")


async def test_a_process_of_another_user_is_told_nothing(
    silent_socket: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, own = silent_socket.getsockname(), os.geteuid()
    with pytest.raises(HandshakeError, match=rf"of user {own} listens at {path}.*uid={own}"):
        await AsyncHost.connect(path, api_key="hidden", uid=own + 1)
    assert await asyncio.to_thread(hear, silent_socket) == b""
    for found in (own + 1, None):
        monkeypatch.setattr(wires, "peer_uid", lambda _, found=found: found)
        with pytest.raises(HandshakeError, match=f"listens at {path}"):
            await AsyncHost.connect(path, api_key="hidden")
        assert await asyncio.to_thread(hear, silent_socket) == b""


async def test_another_user_can_be_trusted(fake_daemon: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "peer_uid", lambda _: os.geteuid() + 1)
    async with AsyncHost.connect(fake_daemon, uid=os.geteuid() + 1) as host:
        assert (await host.ping()).pong
