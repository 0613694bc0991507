"""What all routes share: who may come in, how failures are told, and what happens to clients that leave, wait
or send too much. A toy service stands for the models.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from native_host.guard.keys import KeyStore
from native_host.guard.signatures import SCHEME, sign
from native_host.settings import Settings
from native_host.transports.gateway import http_connection

from .conftest import ToyGateway

CHAT = "/v1/completions"
PATIENCE_S = 60


def client(toy: ToyGateway, **options: Any) -> httpx.AsyncClient:  # noqa: ANN401
    return httpx.AsyncClient(base_url=toy.url, timeout=PATIENCE_S, **options)


def ask(prompt: str, **more: object) -> dict[str, object]:
    return {"prompt": prompt, **more}


def posted(body: bytes) -> bytes:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def test_health_is_open_to_all() -> None:
    async with ToyGateway(Settings(), KeyStore(single="secret-key")) as toy, client(toy) as http:
        answer = await http.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_unknown_paths_and_methods(toy: ToyGateway) -> None:
    async with client(toy) as http:
        missing = await http.get("/nothing")
        assert missing.status_code == 404
        assert missing.json()["error"]["kind"] == "method_not_found"
        wrong = await http.delete("/health")
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "GET"


async def test_keys() -> None:
    async with ToyGateway(Settings(), KeyStore(single="secret-key")) as toy, client(toy) as http:
        refused: list[dict[bytes, bytes]] = [
            {},
            {b"authorization": b"Bearer wrong"},
            {b"authorization": b"Basic secret-key"},
            {b"authorization": b"Bearer"},
            {b"x-api-key": b"secret-ke"},
            {b"x-api-key": b"\xe9"},
        ]
        for headers in refused:
            answer = await http.post(CHAT, json=ask("hello"), headers=headers)
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "unauthenticated"
        for good in ({"authorization": "bearer secret-key"}, {"x-api-key": "secret-key"}):
            answer = await http.post(CHAT, json=ask("hello"), headers=good)
            assert answer.status_code == 200, answer.text


async def test_a_key_needs_the_scope(tmp_path: Path) -> None:
    from native_host.guard.keys import hash_of

    file = tmp_path / "keys.json"
    key = {"name": "reader", "sha256": hash_of("reader-key"), "scopes": ["models.read"]}
    file.write_text(json.dumps({"keys": [key]}))
    async with ToyGateway(Settings(), KeyStore(file)) as toy, client(toy) as http:
        answer = await http.post(CHAT, json=ask("hello"), headers={"x-api-key": "reader-key"})
        assert answer.status_code == 403
        assert answer.json()["error"]["type"] == "permission_error"


async def test_a_proxy_is_not_this_machine(toy: ToyGateway) -> None:
    async with client(toy) as http:
        for name in (
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "via",
            "x-forwarded-host",
            "true-client-ip",
        ):
            answer = await http.post(CHAT, json=ask("hello"), headers={name: "127.0.0.1"})
            assert answer.status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b'{"prompt": NaN}', b"[" * 300, b"[]", b'{"prompt": 5}']
)
async def test_bad_bodies(toy: ToyGateway, body: bytes) -> None:
    async with client(toy) as http:
        answer = await http.post(CHAT, content=body)
        assert answer.status_code in (400, 422)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_token_id_of_thousands_of_digits_is_refused(toy: ToyGateway) -> None:
    async with client(toy) as http:
        answer = await http.post(CHAT, json=ask("hello", logit_bias={"1" * 5000: 1}))
        assert answer.status_code == 422
        assert "must be a token id" in answer.json()["error"]["message"]


async def test_bodies_have_a_limit() -> None:
    async with ToyGateway(Settings(open_loopback=True, max_frame_in=1000)) as toy, client(toy) as http:

        async def parts() -> Any:  # noqa: ANN401
            for _ in range(100):
                yield b"x" * 100

        for content in (b"x" * 1001, parts()):
            answer = await http.post(CHAT, content=content)
            assert answer.status_code == 413
            assert answer.json()["error"]["code"] == "input_too_long"
        assert toy.host.budget.held == 0


async def test_failures_have_their_status_and_no_traceback(toy: ToyGateway) -> None:
    async with client(toy) as http:
        failed = await http.post(CHAT, json=ask("fail secret text"))
        assert failed.status_code == 500
        assert failed.json()["error"]["code"] == "internal_error"
        assert "secret" not in failed.text
        assert "Traceback" not in failed.text


@pytest.mark.parametrize("late", [False, True])
async def test_a_signature_that_cannot_be_right_is_refused_before_the_body_comes(late: bool) -> None:
    authorization = sign(b"any", "POST", CHAT, timestamp=1) if late else f"{SCHEME} nonsense"
    async with ToyGateway(Settings(), secret=b"a secret") as toy:
        reader, writer = await toy.connect()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\n".encode())
        assert b" 401 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
        writer.close()


async def test_bodies_that_are_not_proven_leave_room_for_others() -> None:
    settings = Settings(max_held_input=8000, max_frame_in=2000)
    async with ToyGateway(settings, KeyStore(single="the key"), b"a secret") as toy, client(toy) as http:

        def wrong() -> str:
            return sign(b"another secret", "POST", CHAT)

        async def until_held() -> None:
            while toy.host.budget.held < 1900:
                await http.get("/health")

        _, writer = await toy.connect()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {wrong()}\r\n"
        writer.write(f"{head}Content-Length: 2000\r\n\r\n".encode() + b"x" * 1900)
        await asyncio.wait_for(until_held(), PATIENCE_S)
        body = json.dumps(ask("hello " + "x" * 500)).encode()
        second = await http.post(CHAT, content=body, headers={"Authorization": wrong()})
        assert second.status_code == 503
        known = await http.post(CHAT, content=body, headers={"Authorization": "Bearer the key"})
        assert known.status_code == 200
        writer.close()


async def test_a_timeout(toy: ToyGateway) -> None:
    async with client(toy) as http:
        answer = await http.post(CHAT, json=ask("wait", timeout_s=0.01))
        assert answer.status_code == 504
    assert await toy.service.ended.get() == "wait"
    assert toy.host.requests == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_cancels(toy: ToyGateway, stream: bool) -> None:
    body = json.dumps(ask("wait", stream=stream)).encode()
    _, writer = await toy.connect()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    writer.write(head + body)
    assert await asyncio.wait_for(toy.service.started.get(), PATIENCE_S) == "wait"
    assert toy.host.requests == 1
    writer.close()
    assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == "wait"
    assert toy.host.requests == 0
    assert toy.host.budget.held == 0


@pytest.mark.parametrize("together", [False, True])
async def test_a_client_that_leaves_cancels_though_another_request_waits(
    toy: ToyGateway, together: bool
) -> None:
    first, second = (posted(json.dumps(ask(prompt)).encode()) for prompt in ("wait", "hello"))
    _, writer = await toy.connect()
    writer.write(first + second * together)
    assert await asyncio.wait_for(toy.service.started.get(), PATIENCE_S) == "wait"
    writer.write(second * (not together))
    writer.close()
    assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == "wait"
    assert toy.host.requests == 0
    assert toy.service.started.empty()


async def test_requests_behind_one_another_are_answered_in_order(toy: ToyGateway) -> None:
    reader, writer = await toy.connect()
    writer.write(b"".join(posted(json.dumps(ask(f"hello {number}")).encode()) for number in range(5)))
    for number in range(5):
        text = f"hello {number}".encode()
        assert text in await asyncio.wait_for(reader.readuntil(text), PATIENCE_S)
        assert await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) == text.decode()
    writer.close()


async def test_a_line_end_keeps_no_connection_open(toy: ToyGateway) -> None:
    reader, writer = await toy.connect()
    writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b'{"status":"ok"}'), PATIENCE_S)
    assert toy.server._server is not None
    (connection,) = toy.server._server.server_state.connections
    connection.timeout_keep_alive = 0  # type: ignore[union-attr]  # each kind of HTTP has it
    writer.write(b"\r\n")
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()


async def test_a_slow_reader_makes_its_own_generation_wait() -> None:
    async with ToyGateway(Settings(open_loopback=True, stall_timeout_s=0.5)) as toy:
        body = json.dumps(ask("flood 100000", stream=True)).encode()
        _, writer = await toy.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await toy.service.started.get()
        async with client(toy) as http:  # others are not kept waiting
            answer = await http.post(CHAT, json=ask("hello"))
            assert answer.status_code == 200
        # It reads nothing for the stall timeout: cancelled, and its connection is gone.
        while await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) != "flood 100000":
            pass
        assert toy.service.pieces < 100000
        assert toy.host.requests == 0
        writer.close()


async def test_small_writes_are_not_held_back(toy: ToyGateway) -> None:
    async with client(toy) as http:
        await http.get("/health")
        assert toy.server._server is not None
        (connection,) = toy.server._server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_too_many_at_once() -> None:
    async with ToyGateway(Settings(open_loopback=True, max_in_flight=1)) as toy, client(toy) as http:
        first = asyncio.create_task(http.post(CHAT, json=ask("wait")))
        await toy.service.started.get()
        second = await http.post(CHAT, json=ask("hello"))
        assert second.status_code == 503
        assert second.headers["retry-after"] == "1"
        toy.service.go.set()
        assert (await first).status_code == 200


async def test_closing_answers_what_runs() -> None:
    async with ToyGateway() as toy, client(toy) as http:
        running = asyncio.create_task(http.post(CHAT, json=ask("wait")))
        await toy.service.started.get()
        await toy.server.close()
        answer = await running
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "shutting_down"


async def test_pages_that_are_half_asked_for_leak_nothing(toy: ToyGateway) -> None:
    writers = [(await toy.connect())[1] for _ in range(200)]
    for writer in writers:
        writer.write(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le")
    async with client(toy) as http:
        assert (await http.get("/health")).status_code == 200
    assert toy.host.requests == 0
    for writer in writers:
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /health HTT",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    ],
)
async def test_a_request_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(http_connection, "REQUEST_S", 0.05)
    async with ToyGateway() as toy:
        reader, writer = await toy.connect()
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
        assert toy.host.budget.held == 0
        writer.close()


def test_nobody_could_come_in() -> None:
    command = [sys.executable, "-m", "native_host", "serve", "--http", "127.0.0.1:0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert refused.returncode == 1
    assert "--open-loopback" in refused.stderr


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:70000", "::1:80"])
def test_an_address_that_is_none(address: str) -> None:
    command = [sys.executable, "-m", "native_host", "serve", "--http", address]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert refused.returncode == 2
    assert "--http" in refused.stderr
