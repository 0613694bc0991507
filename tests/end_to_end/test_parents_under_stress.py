"""Parents that come in crowds, that do not read, that dribble, that go in the middle of things, and that
speak other versions: real processes at both ends. What they do costs nobody else anything and leaves nothing
behind.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import pytest

from end_to_end.processes import family, survivors, workers
from end_to_end.raw_peer import RawPeer
from native_host.client import AsyncHost, BrokenStream, HandshakeError, Host
from native_host.protocol.errors import RpcError
from native_host.protocol.frames import encode_frame

PARENTS = 32
PATIENCE_S = 240
"""No test waits longer for anything."""
FAKE_HOST = Path(__file__).parents[2] / "rust" / "client" / "tests" / "support" / "fake_host.py"
CLIENT = {"name": "stress", "version": "1"}


class Child:
    """A host on stdio, spoken with by hand. Whatever is left of it is killed at the end of the block."""

    def __init__(self, models: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "native_host"],
            env={**os.environ, "MODEL_CONFIG_PATH": str(models)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin = self.process.stdin
        self.stdout = self.process.stdout

    def introduce(self) -> None:
        self.stdin.write(call("initialize", {"protocol_version": "1", "client": CLIENT}))
        assert "result" in self.hear()

    def hear(self) -> Any:  # noqa: ANN401
        """The next document."""
        (length,) = struct.unpack("=I", self._read(4))
        return json.loads(self._read(length))

    def answer(self) -> Any:  # noqa: ANN401
        """The next one that is no notification."""
        while "id" not in (document := self.hear()):
            pass
        return document

    def ended(self) -> int:
        """Its exit code, once it has ended by itself and nothing that it started is left."""
        everyone = family(self.process.pid)
        code = self.process.wait(timeout=PATIENCE_S)
        assert not survivors(everyone)
        return code

    def _read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.stdout.read(count - len(found))
            assert piece, "the host hung up"
            found += piece
        return found

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (self.stdin, self.stdout):
            end.close()
        self.process.kill()
        self.process.wait()


def call(method: str, params: object, id_: int = 1) -> bytes:
    """A request's frame."""
    message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
    return encode_frame(json.dumps(message).encode())


def endless() -> dict[str, object]:
    """Params of a stream that is not over soon."""
    return {
        "prompts": ["hello"] * 64,
        "max_tokens": 100_000,
        "ignore_eos": True,
        "stream": True,
        "logprobs": 20,
    }


@pytest.fixture
def child(models_file: Path) -> Iterator[Child]:
    with Child(models_file) as started:
        yield started


def idle(host: Host) -> None:
    """Wait until a host has nothing to do."""
    while host.health().requests_in_flight:
        pass


def fill(descriptor: int, frame: bytes) -> None:
    """Write the same frame again and again, until whoever reads takes nothing for a while."""
    os.set_blocking(descriptor, False)
    rest = b""
    while select.select([], [descriptor], [], 2)[1]:
        rest = rest or frame
        rest = rest[os.write(descriptor, rest) :]


# Crowds


async def test_32_parents_each_with_a_host_of_its_own(models_file: Path) -> None:
    async def one() -> tuple[str, list[psutil.Process]]:
        async with AsyncHost.spawn(models=models_file, timeout=PATIENCE_S) as host:
            answer = await host.generate("hello", max_tokens=20, temperature=0, ignore_eos=True)
            return answer.text, family(host.info.server.pid)

    answers = await asyncio.gather(*(one() for _ in range(PARENTS)))
    assert len({text for text, _ in answers}) == 1
    everyone = [process for _, processes in answers for process in processes]
    assert len(everyone) >= 2 * PARENTS
    assert not survivors(everyone)


async def test_32_parents_of_one_daemon(daemon: Path) -> None:
    async def one(number: int) -> tuple[str, int]:
        async with AsyncHost.connect(daemon, timeout=PATIENCE_S) as host:
            stream = host.stream(f"number {number}", max_tokens=50, temperature=0, ignore_eos=True)
            text = "".join([piece async for piece in stream])
            assert text == (await stream.result).text
            return text, host.info.server.pid

    answers = await asyncio.gather(*(one(number) for number in range(PARENTS)))
    assert len({pid for _, pid in answers}) == 1
    assert len(workers(answers[0][1])) == 1
    with Host.connect(daemon) as host:
        idle(host)


# Parents that do not read


def test_a_parent_that_never_reads_costs_nobody_else_anything(daemon: Path, socket_host: Host) -> None:
    with RawPeer(daemon) as deaf:
        deaf.ask(("generate", endless()))
        for number in range(4):
            other = socket_host.generate(f"number {number}", max_tokens=50, ignore_eos=True)
            assert other.usage.completion_tokens == 50
    idle(socket_host)  # what the deaf one had asked for is given up once it has gone


def test_the_end_of_a_parent_that_never_read_is_seen_although_its_host_reads_no_more(child: Child) -> None:
    child.introduce()
    # Each is answered with its name, twice: soon more waits than may, and the host takes no more.
    fill(child.stdin.fileno(), call("x" * 1_000_000, {}))
    child.stdin.close()
    assert child.ended() == 0


def test_a_parent_that_reads_late_loses_nothing(child: Child) -> None:
    child.introduce()
    # With that many alternatives a token, more than may wait for a peer.
    params = {"prompt": "hello", "max_tokens": 800, "ignore_eos": True, "stream": True, "logprobs": 20}
    child.stdin.write(call("generate", params))
    select.select([child.stdout], [], [])
    child.stdin.write(call("ping", {}, 2))
    pieces: list[str] = []
    answers: dict[int, Any] = {}
    while len(answers) < 2:
        document = child.hear()
        if document.get("method") == "$/stream":
            pieces.append(document["params"]["text"])
        elif "id" in document:
            answers[document["id"]] = document["result"]
    assert answers[2]["pong"]
    assert answers[1]["text"] == "".join(pieces)


# Parents that are slow, or go in the middle of something


def test_a_parent_that_sends_byte_by_byte_is_understood(child: Child) -> None:
    frames = call("initialize", {"protocol_version": "1", "client": CLIENT})
    frames += call("generate", {"prompt": "hällo \N{SNOWMAN}", "max_tokens": 5, "ignore_eos": True}, 2)
    for byte in frames:
        child.stdin.write(bytes([byte]))
    assert child.answer()["id"] == 1
    assert child.answer()["result"]["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 30])
def test_a_parent_that_ends_in_mid_frame_ends_its_host(child: Child, cut: int) -> None:
    child.introduce()
    child.stdin.write(call("ping", {})[:cut])
    child.stdin.close()
    assert child.ended() == 0


def test_parents_that_die_in_mid_frame_leave_a_daemon_nothing_to_hold(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Each leaves a megabyte of a frame unfinished; together that is more than this host holds for all."""
    monkeypatch.setenv("NATIVE_HOST_MAX_HELD_BYTES", "4000000")
    path: Path = request.getfixturevalue("daemon")
    for _ in range(PARENTS):
        with socket.socket(socket.AF_UNIX) as parent:
            parent.connect(str(path))
            parent.sendall(struct.pack("=I", 3_000_000) + b" " * 1_000_000)
    while not _takes_a_request(path):  # until all of their ends have been seen
        pass


def _takes_a_request(path: Path) -> bool:
    try:
        with Host.connect(path) as host:
            return bool(host.tokenize("hello " * 20_000))
    except RpcError as refusal:
        if refusal.kind != "overloaded":
            raise
        return False


def test_stdout_closed_while_generating_ends_the_host(child: Child) -> None:
    child.introduce()
    child.stdin.write(call("generate", endless()))
    while "method" not in child.hear():
        pass
    assert workers(child.process.pid)
    child.stdout.close()
    assert child.ended() == 0


# Parents and hosts of different versions


def test_a_parent_of_another_major_version_is_told_and_may_come_down_to_ours(child: Child) -> None:
    for id_, (version, side) in enumerate((("2", "this host"), ("0.9", "the client"), ("", "the client"))):
        child.stdin.write(call("initialize", {"protocol_version": version, "client": CLIENT}, id_))
        error = child.answer()["error"]
        assert (error["code"], error["data"]["supported"]) == (-32004, ["1"])
        assert f"update {side}" in error["message"]
    child.introduce()


def test_a_newer_parent_is_told_what_is_not_known_and_goes_on_without(child: Child) -> None:
    child.stdin.write(call("initialize", {"protocol_version": "1.4", "client": {**CLIENT, "mood": "good"}}))
    error = child.answer()["error"]
    assert error["data"]["kind"] == "invalid_params"
    assert "mood" in error["message"]
    child.stdin.write(call("initialize", {"protocol_version": "1.4", "client": CLIENT}))
    assert child.answer()["result"]["protocol_version"] == "1"
    child.stdin.write(encode_frame(b'{"jsonrpc":"2.0","method":"$/brandNew","params":{"id":1}}'))
    child.stdin.write(call("brand.new", {}, 2))
    assert child.answer()["error"]["data"] == {"kind": "method_not_found", "method": "brand.new"}
    child.stdin.write(call("generate", {"prompt": "x", "brand_new": 1}, 3))
    assert "brand_new" in child.answer()["error"]["message"]
    child.stdin.write(call("generate", {"prompt": "x", "max_tokens": 1}, 4))
    assert child.answer()["id"] == 4


def fake(way: str) -> list[str]:
    """The command of a host that a real one cannot be made to be."""
    return [sys.executable, str(FAKE_HOST), way]


SECRET = b"a secret of both of them"


def test_a_newer_host_is_understood_by_an_older_client() -> None:
    with Host.spawn(fake("newer"), secret=SECRET) as host:
        answered = host.call("generate", {"prompt": "x"})
        assert isinstance(answered, dict)
        assert answered["text"] == "all of it"


@pytest.mark.parametrize("way", ["refuses-version", "other-version"])
def test_a_host_of_another_major_version_is_refused_with_the_side_to_update(way: str) -> None:
    with pytest.raises((RpcError, HandshakeError), match=r"update the (client|older)"):
        Host.spawn(fake(way), secret=SECRET)


@pytest.mark.parametrize("way", ["garbage-later", "too-long", "gap", "damaged-parts"])
def test_a_host_that_breaks_the_contract_is_not_believed(way: str) -> None:
    with Host.spawn(fake(way), secret=SECRET) as host, pytest.raises(BrokenStream):
        host.generate("x")
