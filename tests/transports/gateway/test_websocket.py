"""`/ws`: who may come in, and that a connection over it is one like any other. A toy service stands for the
models.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from native_host.guard.keys import KeyStore
from native_host.protocol.mac import CLIENT_LABEL, HOST_LABEL, mac_of
from native_host.settings import Settings
from native_host.transports.gateway import websocket_connection
from native_host.transports.gateway.websocket_connection import STRANGER_BYTES

from .conftest import ToyGateway

PATIENCE_S = 60
KEY = "secret-key"


class Peer:
    """A WebSocket client that speaks JSON."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, method: str, params: object, id_: object = None) -> None:
        """A request, or a notification where there is no id."""
        call = {"jsonrpc": "2.0", "method": method, "params": params}
        await self.socket.send(json.dumps(call if id_ is None else {**call, "id": id_}))

    async def hear(self) -> Any:  # noqa: ANN401
        """The next message."""
        return json.loads(await asyncio.wait_for(self.socket.recv(), PATIENCE_S))

    async def call(self, method: str, params: object, id_: object = "call") -> Any:  # noqa: ANN401
        """A request's answer, which must be the next message."""
        await self.send(method, params, id_)
        answer = await self.hear()
        assert answer["id"] == id_
        return answer

    async def open(self) -> Any:  # noqa: ANN401
        """The handshake's first step."""
        who = {"name": "test", "version": "1"}
        return await self.call("initialize", {"protocol_version": "1", "client": who})


@asynccontextmanager
async def joined(toy: ToyGateway, **options: Any) -> AsyncIterator[Peer]:  # noqa: ANN401
    address = f"{toy.url.replace('http', 'ws')}/ws"
    async with connect(address, max_size=None, open_timeout=PATIENCE_S, **options) as socket:
        yield Peer(socket)


def strangers_of(toy: ToyGateway) -> dict[websocket_connection.WebSocketConnection, str]:
    """The sockets that wait for their peers to authenticate."""
    assert toy.server._server is not None
    carrier = toy.server._server.config.ws_protocol_class
    assert carrier is not None
    assert issubclass(carrier, websocket_connection.WebSocketConnection)
    return carrier.strangers


async def until(toy: ToyGateway, holds: Callable[[], bool]) -> None:
    """Let the host's loop turn until it has noticed."""

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=toy.url, timeout=PATIENCE_S) as http:
            while not holds():
                await http.get("/health")

    await asyncio.wait_for(ask(), PATIENCE_S)


async def refused(toy: ToyGateway, **options: Any) -> tuple[int, Any]:  # noqa: ANN401
    """The HTTP status and the error with which the connection is turned away."""
    with pytest.raises(InvalidStatus) as caught:
        async with joined(toy, **options):
            pass
    body = caught.value.response.body
    return caught.value.response.status_code, json.loads(body or b"null")["error"]


async def test_requests_and_streams(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        opened = await peer.open()
        assert opened["result"]["auth"]["required"] is False
        await peer.send("generate", {"prompt": "stream grüße", "stream": True}, 7)
        piece, answer = await peer.hear(), await peer.hear()
        assert piece["params"] == {"id": 7, "seq": 0, "text": "grüße"}
        assert answer["result"]["text"] == "grüße"


async def test_a_batch_is_one_message(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        pings: list[dict[str, object]] = [
            {"jsonrpc": "2.0", "method": "ping", "params": {}, "id": id_} for id_ in (1, 2)
        ]
        await peer.socket.send(json.dumps(pings))
        assert [answer["id"] for answer in await peer.hear()] == [1, 2]


async def test_a_request_is_cancelled(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        await peer.open()
        await peer.send("generate", {"prompt": "wait"}, "w")
        assert await toy.service.started.get() == "wait"
        await peer.send("$/cancelRequest", {"id": "w"})
        answer = await peer.hear()
        assert answer["error"]["data"]["kind"] == "cancelled"
        assert answer["error"]["data"]["text"] == "so far"
        assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == "wait"


async def test_a_peer_that_leaves_ends_its_requests(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        await peer.open()
        await peer.send("generate", {"prompt": "wait"}, "w")
        assert await toy.service.started.get() == "wait"
    assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == "wait"


async def test_what_is_no_json_is_answered_and_the_next_message_too(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        for number, wrong in enumerate(("", "{", "NaN", "[" * 1000), start=1):
            await peer.socket.send(wrong)
            answer = await peer.hear()
            assert answer["id"] is None
            assert answer["error"]["data"] == {"kind": "parse_error", "frame": number}
        assert (await peer.call("ping", {}))["result"]["pong"] is True


async def test_bytes_are_not_taken(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        await peer.socket.send(b"{}")
        with pytest.raises(ConnectionClosed) as caught:
            await peer.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1003


async def test_a_message_over_the_limit_ends_the_connection() -> None:
    async with ToyGateway(Settings(open_loopback=True, max_frame_in=2000)) as toy, joined(toy) as peer:
        assert "result" in await peer.open()
        await peer.send("generate", {"prompt": "x" * 5000}, "x")
        with pytest.raises(ConnectionClosed) as caught:
            await peer.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def test_input_beyond_what_may_be_held_is_refused() -> None:
    async with ToyGateway(Settings(open_loopback=True, max_held_input=2000)) as toy, joined(toy) as peer:
        await peer.open()
        await peer.send("generate", {"prompt": "x" * 5000}, "x")
        answer = await peer.hear()
        assert answer["error"]["data"]["kind"] == "overloaded"
        assert "result" in await peer.call("generate", {"prompt": "hello"})
        assert toy.host.budget.held == 0


async def test_long_results_come_in_chunks_where_the_peer_says_so(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        who = {"name": "test", "version": "1", "max_frame_in": 65536}
        await peer.call("initialize", {"protocol_version": "1", "client": who})
        await peer.send("generate", {"prompt": "long 200000"}, "l")
        answer = await peer.hear()
        chunks = 0
        while "method" in answer:
            chunks += 1
            answer = await peer.hear()
        assert answer["result"]["chunked"] is True
        assert answer["result"]["chunks"] == chunks > 2


async def test_nothing_is_lost_on_the_way_to_a_slow_reader(toy: ToyGateway) -> None:
    pieces = 3000
    async with joined(toy, max_queue=1) as peer:
        await peer.open()
        await peer.send("generate", {"prompt": f"flood {pieces}"}, "f")
        for seq in range(pieces):
            assert (await peer.hear())["params"]["seq"] == seq
        assert len((await peer.hear())["result"]["text"]) == pieces * 1000


async def test_a_peer_that_does_not_read_is_given_up() -> None:
    pieces = 200_000  # more than sockets hold
    settings = Settings(open_loopback=True, out_queue=20_000, stall_timeout_s=0.2)
    async with ToyGateway(settings) as toy, joined(toy, max_queue=1) as peer:
        await peer.open()
        await peer.send("generate", {"prompt": f"flood {pieces}"}, "f")
        assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == f"flood {pieces}"
        assert toy.service.pieces < pieces
        answer = await peer.hear()
        while "method" in answer:
            answer = await peer.hear()
        assert answer["error"]["data"]["kind"] == "cancelled"


async def test_exit_closes_it(toy: ToyGateway) -> None:
    async with joined(toy) as peer:
        await peer.open()
        assert (await peer.call("shutdown", {}))["result"] is None
        await peer.send("exit", {})
        with pytest.raises(ConnectionClosed) as caught:
            await peer.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1000


async def test_a_host_that_ends_closes_it() -> None:
    async with ToyGateway() as toy:
        peer = await connect(f"{toy.url.replace('http', 'ws')}/ws", open_timeout=PATIENCE_S)
        await Peer(peer).open()
        await Peer(peer).send("generate", {"prompt": "wait"}, "w")
        assert await toy.service.started.get() == "wait"
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(peer.recv(), PATIENCE_S)
    assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == "wait"


# Who may come in


async def test_a_key_is_asked_for() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy, joined(toy) as peer:
        auth = (await peer.open())["result"]["auth"]
        assert (auth["required"], auth["schemes"]) == (True, ["api_key"])
        early = await peer.call("generate", {"prompt": "hello"})
        assert early["error"]["data"]["kind"] == "unauthenticated"
        wrong = await peer.call("authenticate", {"api_key": "wrong"})
        assert wrong["error"]["data"]["kind"] == "unauthenticated"
        assert "result" in await peer.call("authenticate", {"api_key": KEY})
        assert "result" in await peer.call("generate", {"prompt": "hello"})


@pytest.mark.parametrize("limit", ["rate_limit", "address_rate_limit"])
async def test_each_request_counts_as_over_http(limit: str) -> None:
    settings = Settings(open_loopback=True, **{limit: 3})  # type: ignore[arg-type]  # two names of numbers
    async with ToyGateway(settings) as toy, joined(toy) as peer:  # to connect is the first
        await peer.open()
        for _ in range(2):
            assert "result" in await peer.call("generate", {"prompt": "hello"})
        refused = await peer.call("generate", {"prompt": "hello"})
        assert refused["error"]["data"]["kind"] == "rate_limited"


async def test_the_shared_secret_lets_in_and_is_proved_by_the_host() -> None:
    secret, client_nonce = b"a secret of some length", bytes(range(32))
    async with ToyGateway(Settings(), secret=secret) as toy, joined(toy) as peer:
        auth = (await peer.open())["result"]["auth"]
        assert auth["schemes"][0] == "hmac-sha256"
        nonce = bytes.fromhex(auth["nonce"])
        proof = {
            "client_nonce": client_nonce.hex(),
            "mac": mac_of(secret, CLIENT_LABEL, nonce, client_nonce).hex(),
        }
        answer = await peer.call("authenticate", proof)
        assert answer["result"]["mac"] == mac_of(secret, HOST_LABEL, client_nonce, nonce).hex()
        assert "result" in await peer.call("generate", {"prompt": "hello"})


async def test_strangers_messages_are_short() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy:
        async with joined(toy) as peer:
            await peer.open()
            await peer.send("generate", {"prompt": "x" * STRANGER_BYTES}, "x")
            with pytest.raises(ConnectionClosed) as caught:
                await peer.hear()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
        async with joined(toy) as peer:
            await peer.open()
            await peer.call("authenticate", {"api_key": KEY})
            answer = await peer.call("generate", {"prompt": "x" * STRANGER_BYTES})
            assert "result" in answer


async def test_a_small_message_that_unpacks_to_a_large_one_ends_it() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy, joined(toy) as peer:
        assert "permessage-deflate" in str(peer.socket.response and peer.socket.response.headers)
        await peer.open()
        await peer.send("generate", {"prompt": "x" * (STRANGER_BYTES * 100)}, "x")
        with pytest.raises(ConnectionClosed) as caught:
            await peer.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


async def test_only_so_many_strangers_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_connection, "MOST_STRANGERS", 2)
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy, joined(toy) as one, joined(toy):
        status, error = await refused(toy)
        assert (status, error["kind"]) == (503, "overloaded")
        header = {"X-API-Key": KEY}
        async with joined(toy, additional_headers=header):  # who is known is no stranger
            pass
        await one.open()
        await one.call("authenticate", {"api_key": KEY})
        async with joined(toy) as third:
            assert "result" in await third.open()


async def test_one_address_cannot_take_the_place_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_connection, "MOST_OF_AN_ADDRESS", 2)
    settings = Settings(trusted_proxies="127.0.0.1")
    async with ToyGateway(settings, KeyStore(single=KEY)) as toy:

        def by(address: str) -> dict[str, Any]:
            return {"additional_headers": {"X-Forwarded-For": address}}

        async with joined(toy, **by("203.0.113.1")), joined(toy, **by("203.0.113.1")):
            status, error = await refused(toy, **by("203.0.113.1"))
            assert (status, error["kind"]) == (503, "overloaded")
            async with joined(toy, **by("203.0.113.2")) as other:
                assert "result" in await other.open()


async def test_answers_to_pings_that_nobody_reads_are_not_kept() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy:
        reader, writer = await toy.connect()
        head = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        keys = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        writer.write((head + keys).encode())
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        ping = bytes([0x89, 0x80 | 125]) + bytes(4) + b"x" * 125
        for _ in range(200):
            writer.write(ping * 1000)
            await asyncio.wait_for(writer.drain(), PATIENCE_S)
        (stranger,) = strangers_of(toy)
        assert stranger.transport.get_write_buffer_size() < 1 << 20
        writer.transport.abort()


async def test_a_stranger_that_leaves_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_connection, "MOST_STRANGERS", 1)
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy:
        for _ in range(5):
            async with joined(toy) as peer:
                assert "result" in await peer.open()
            await until(toy, lambda: not strangers_of(toy))


async def test_a_stranger_has_so_long_to_authenticate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_connection, "HANDSHAKE_S", 0.05)
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy, joined(toy) as peer:
        with pytest.raises(ConnectionClosed) as caught:
            await peer.hear()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


async def test_messages_that_are_never_finished_count_as_input() -> None:
    async with ToyGateway(Settings(open_loopback=True, max_held_input=50_000)) as toy:
        async with joined(toy, compression=None) as peer:
            await peer.open()
            sent: list[int] = []

            async def fragments() -> AsyncIterator[str]:
                while True:
                    yield "x" * 1000
                    sent.append(toy.host.budget.held)
                    await asyncio.sleep(0)

            with pytest.raises(ConnectionClosed) as caught:
                await asyncio.wait_for(peer.socket.send(fragments()), PATIENCE_S)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1013
            assert max(sent) > 30_000
        await until(toy, lambda: toy.host.budget.held == 0)


async def test_three_wrong_keys_end_it() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy, joined(toy) as peer:
        await peer.open()
        for _ in range(3):
            assert "error" in await peer.call("authenticate", {"api_key": "wrong"})
        with pytest.raises(ConnectionClosed):
            await peer.hear()


async def test_a_key_in_a_header_is_enough() -> None:
    async with ToyGateway(Settings(), KeyStore(single=KEY)) as toy:
        async with joined(toy, additional_headers={"Authorization": f"Bearer {KEY}"}) as peer:
            assert (await peer.open())["result"]["auth"]["required"] is False
            assert "result" in await peer.call("generate", {"prompt": "hello"})
        status, error = await refused(toy, additional_headers={"X-API-Key": "wrong"})
        assert (status, error["kind"]) == (401, "unauthenticated")


async def test_without_any_key_only_this_machine_comes_in(toy: ToyGateway) -> None:
    status, error = await refused(toy, additional_headers={"X-Forwarded-For": "203.0.113.7"})
    assert (status, error["kind"]) == (401, "unauthenticated")


async def test_pages_of_others_are_turned_away() -> None:
    settings = Settings(open_loopback=True, cors_origins="https://chat.example.org")
    async with ToyGateway(settings) as toy:
        for origin in ("https://evil.example", "null", "https://chat.example.org.evil.example"):
            status, error = await refused(toy, origin=origin)
            assert (status, error["kind"]) == (403, "permission_denied")
        for origin in (toy.url, "https://chat.example.org"):
            async with joined(toy, origin=origin) as peer:
                assert "result" in await peer.open()
