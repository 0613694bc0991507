"""Streams over a socket that is cut at random places: nothing is lost, and nothing comes twice."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from native_host.client import AsyncHost, Generated, Host, HostDied
from native_host.client.session import Answer, Failure, Piece, Session
from native_host.protocol.errors import RpcError

ASKED: dict[str, object] = {
    "prompt": "once upon a time",
    "max_tokens": 1200,
    "ignore_eos": True,
    "seed": 11,
    "stream": True,
    "resumable": True,
}


class CutPeer:
    """Reads so many bytes of what a request is answered with, and hangs up."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        self._session = Session()
        about = {"protocol_version": "1", "client": {"name": "cut", "version": "1"}}
        self._socket.sendall(self._session.request("initialize", about)[1])
        while not self._session.receive(self._socket.recv(4096)):
            pass

    def read(self, method: str, params: dict[str, object], most: int) -> tuple[list[Piece], Answer | None]:
        """The pieces of the stream that came, and the answer if that did."""
        request, frame = self._session.request(method, params)
        self._socket.sendall(frame)
        pieces: list[Piece] = []
        while most > 0:
            data = self._socket.recv(min(most, 4096))
            assert data, "the host hung up"
            most -= len(data)
            for event in self._session.receive(data):
                assert not isinstance(event, Failure), event.error
                if isinstance(event, Piece) and event.id == request:
                    pieces.append(event)
                if isinstance(event, Answer) and event.id == request:
                    return pieces, event
        return pieces, None

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("number", range(3))
def test_nothing_is_lost_and_nothing_comes_twice(daemon: Path, number: int) -> None:
    dice = random.Random(number)
    text, next_seq, cuts, name, answer = "", 0, 0, None, None
    while answer is None:
        peer = CutPeer(daemon)
        most = dice.randrange(1, 2000) * (1 + cuts)  # at first not even the answer would fit
        if name is None:
            pieces, answer = peer.read("generate", ASKED, most)
        else:
            pieces, answer = peer.read("streams.resume", {"stream": name, "from_seq": next_seq}, most)
        peer.close()
        cuts += answer is None
        for piece in pieces:
            assert piece.seq == next_seq
            name, next_seq, text = name or piece.stream, next_seq + 1, text + piece.text
    assert cuts >= 2
    result = msgspec.json.decode(answer.result, type=Generated)
    assert text == result.text
    assert result.usage.completion_tokens == 1200


def joined_until_death(pieces: Iterator[str]) -> str:
    text = ""
    with contextlib.suppress(HostDied):
        for piece in pieces:
            text += piece
    return text


def test_the_client_takes_a_stream_up_again(daemon: Path) -> None:
    with Host.connect(daemon) as host:
        stream = host.chat("hello", max_tokens=400, ignore_eos=True, seed=3, resumable=True)
        pieces = iter(stream)
        text = next(pieces) + next(pieces)
        host.close()
        text += joined_until_death(pieces)
        place = stream.place
    assert place is not None
    with Host.connect(daemon) as host:
        resumed = host.resume(*place)
        text += "".join(resumed)
        result = resumed.result
        assert not isinstance(result, Generated)
        assert result.message.content == text
        assert result.usage.completion_tokens == 400
        with pytest.raises(RpcError) as caught:
            _ = host.resume("no such stream", 0).result
        assert caught.value.kind == "stream_not_found"


async def test_the_same_for_asyncio(daemon: Path) -> None:
    async with AsyncHost.connect(daemon) as host:
        stream = host.stream("hello", max_tokens=50, ignore_eos=True, seed=3, resumable=True)
        text = "".join([piece async for piece in stream])
        assert stream.place is not None
    async with AsyncHost.connect(daemon) as host:
        resumed = host.resume(stream.place[0], 0)
        assert "".join([piece async for piece in resumed]) == text
        result = await resumed.result
        assert isinstance(result, Generated)
        assert result.text == text


def test_a_cancelled_one_is_not_kept(socket_host: Host, slow_model: Path) -> None:
    assert slow_model.exists()
    stream = socket_host.stream("hello", model="slow", max_tokens=1500, ignore_eos=True, resumable=True)
    next(iter(stream))
    place = stream.place
    stream.cancel()
    with pytest.raises(RpcError):
        _ = stream.result
    assert place is not None
    with pytest.raises(RpcError) as caught:
        _ = socket_host.resume(*place).result
    assert caught.value.kind == "stream_not_found"


def test_a_child_on_stdio_keeps_none(host: Host) -> None:
    with pytest.raises(RpcError, match="serve") as caught:
        _ = host.stream("hello", resumable=True).result
    assert caught.value.kind == "unsupported"
