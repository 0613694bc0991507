# ruff: noqa: ASYNC240 - looking at a path does not block a test
"""The daemon's socket: who may connect, who may listen, and what a connection's end means."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from toy_service import ToyService

from native_host.protocol.frames import encode_frame
from native_host.settings import Settings
from native_host.transports import unix_socket
from native_host.transports.asyncio_pipe import Ends
from native_host.transports.host import Host
from native_host.transports.unix_socket import SocketError, SocketServer

HERE = Path(__file__).parent
INITIALIZE = {"protocol_version": "1", "client": {"name": "test", "version": "1"}}


class Daemon:
    """A server in this process, with a toy service."""

    def __init__(self, path: Path) -> None:
        self.service = ToyService()
        self.host = Host(self.service, Settings())
        self.server = SocketServer(self.host, path)


class Peer:
    """A peer on a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, path: Path) -> Peer:
        return cls(*await asyncio.open_unix_connection(path))

    def say(self, method: str, params: object, id_: object = 1) -> None:
        message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
        self.writer.write(encode_frame(json.dumps(message).encode()))

    async def hear(self) -> Any:  # noqa: ANN401
        (length,) = struct.unpack("=I", await self.reader.readexactly(4))
        return json.loads(await self.reader.readexactly(length))

    async def call(self, method: str, params: object, id_: object = 1) -> Any:  # noqa: ANN401
        self.say(method, params, id_)
        return await self.hear()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "host.sock"


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[Daemon]:
    daemon = Daemon(path)
    await daemon.server.open()
    yield daemon
    await daemon.server.close()


async def test_it_is_the_owners_alone(daemon: Daemon, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert (await (await Peer.open(path)).call("ping", {}))["result"]["pong"] is True


async def test_another_user_is_refused(daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_socket, "peer_uid", lambda _: os.geteuid() + 1)
    peer = await Peer.open(path)
    assert await peer.reader.read() == b""


async def test_the_end_of_a_connection_cancels_its_requests_and_no_others(daemon: Daemon, path: Path) -> None:
    going, staying = await Peer.open(path), await Peer.open(path)
    for peer, prompt in [(going, "wait going"), (staying, "wait staying")]:
        await peer.call("initialize", INITIALIZE)
        peer.say("generate", {"prompt": prompt})
        assert await daemon.service.started.get() == prompt
    going.writer.close()
    assert await daemon.service.ended.get() == "wait going"
    daemon.service.go.set()
    assert (await staying.hear())["result"]["text"] == "wait staying"


async def test_a_request_that_cannot_be_interrupted_does_not_keep_the_daemon(path: Path) -> None:
    daemon = Daemon(path)
    await daemon.server.open()
    peer = await Peer.open(path)
    await peer.call("initialize", INITIALIZE)
    peer.say("generate", {"prompt": "deaf"})
    await daemon.service.started.get()
    await daemon.server.close()
    assert await peer.reader.read() == b""
    daemon.service.go.set()


async def test_exit_ends_the_connection_and_not_the_daemon(daemon: Daemon, path: Path) -> None:
    peer = await Peer.open(path)
    await peer.call("initialize", INITIALIZE)
    peer.say("shutdown", {})
    peer.writer.write(encode_frame(b'{"jsonrpc":"2.0","method":"exit"}'))
    assert (await peer.hear())["result"] is None
    assert await peer.reader.read() == b""
    assert (await (await Peer.open(path)).call("ping", {}))["result"]["pong"] is True


async def test_a_peer_that_does_not_read_stops_nobody_else(daemon: Daemon, path: Path) -> None:
    deaf, other = await Peer.open(path), await Peer.open(path)
    for peer in (deaf, other):
        await peer.call("initialize", INITIALIZE)
    deaf.say("generate", {"prompt": "flood 100000"})
    await daemon.service.started.get()
    assert (await other.call("generate", {"prompt": "hello"}))["result"]["text"] == "hello"


async def test_a_second_daemon_is_refused_and_the_first_goes_on(daemon: Daemon, path: Path) -> None:
    with pytest.raises(SocketError, match="another daemon"):
        await Daemon(path).server.open()
    assert (await (await Peer.open(path)).call("ping", {}))["result"]["pong"] is True


async def test_a_socket_that_a_dead_daemon_left_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    daemon = Daemon(path)
    await daemon.server.open()
    assert (await (await Peer.open(path)).call("ping", {}))["result"]["pong"] is True
    await daemon.server.close()
    assert not path.exists()


async def test_a_file_in_its_place_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(SocketError, match="no socket"):
        await Daemon(path).server.open()
    assert path.read_text() == "mine"
    path.unlink()
    daemon = Daemon(path)
    await daemon.server.open()  # the lock was let go of
    await daemon.server.close()


async def test_a_socket_that_somebody_else_put_there_is_not_removed(path: Path) -> None:
    daemon = Daemon(path)
    await daemon.server.open()
    path.unlink()
    path.write_text("theirs")
    await daemon.server.close()
    assert path.read_text() == "theirs"


async def test_a_path_that_is_too_long_is_told(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match="too long"):
        await Daemon(tmp_path / ("x" * 120)).server.open()


def test_a_daemon_process_that_is_killed_leaves_nothing_that_is_in_the_way(path: Path) -> None:
    """A real process with the toy service, killed; then another one on the same socket, ended in order."""
    environ = {**os.environ, "PYTHONPATH": f"{HERE.parent.parent}:{HERE}"}
    command = [sys.executable, str(HERE / "toy_host.py"), "--socket", str(path)]
    for number, code in [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0)]:
        daemon = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert daemon.stdout is not None
        assert daemon.stdout.readline().strip() == str(path).encode()
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            peer.sendall(encode_frame(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'))
            assert b"pong" in peer.recv(1000)
            daemon.send_signal(number)
            assert daemon.wait(timeout=60) == code
        daemon.stdout.close()
    assert not path.exists()


async def test_a_socket_that_another_program_listens_at_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(SocketError, match="another program listens"):
            await SocketServer(Host(ToyService(), Settings()), path).open()
        assert path.is_socket()


async def test_a_peer_that_left_and_never_reads_is_not_kept_for_ever(
    daemon: Daemon, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "_LINGER_S", 0.01)
    lost = asyncio.Event()
    connection_lost = Ends.connection_lost

    def tell(ends: Ends, error: Exception | None) -> None:
        connection_lost(ends, error)
        lost.set()

    monkeypatch.setattr(Ends, "connection_lost", tell)
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        peer.sendall(encode_frame(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize"}).encode()))
        peer.sendall(b"\0\0\0\0" * 20_000)  # each is answered, and nothing is read
        peer.shutdown(socket.SHUT_WR)
        await lost.wait()
