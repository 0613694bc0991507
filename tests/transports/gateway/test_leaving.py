"""Clients that leave in the middle of an answer, do not read it, or never finish to ask leave nothing behind:
counted in this process with a toy service, then shown on real models that have one sequence each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection, connect

import native_host
from native_host.settings import Settings

from .conftest import ToyGateway
from .spawning import Served, served

BUILTIN = Path(native_host.__file__).parent / "models" / "builtin" / "tabagent-demo.gguf"
PATIENCE_S = 90
FLOOD = "flood 1000000"
UNREAD_FLOOD = "flood 999999"
LONG = 16000
"""Tokens. A model of 135 million weights writes them for longer than anybody here waits."""

Body = dict[str, object]
WAYS: dict[str, tuple[str, str, Body]] = {
    "server-sent events": ("/v1/completions", "*/*", {"max_tokens": LONG, "ignore_eos": True}),
    "lines of JSON": ("/api/generate", "*/*", {"raw": True, "options": {"num_predict": LONG}}),
    "plain text": ("/api/v1/generate", "text/plain", {"max_tokens": LONG, "ignore_eos": True}),
}


def post(path: str, accept: str, body: Body) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def asked(way: str, model: str, prompt: str) -> bytes:
    """A request for a stream in this way."""
    path, accept, more = WAYS[way]
    return post(path, accept, {"model": model, "prompt": prompt, "stream": True, **more})


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until it is so, in the test's own task, since tasks are counted."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def leave_http(url: str, way: str, model: str = "any", prompt: str = FLOOD) -> None:
    """Leave once some of the answer has come."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        writer.write(asked(way, model, prompt))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
        assert b" 200 " in head.split(b"\r\n", 1)[0], head
        for _ in range(4):
            assert await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE_S)
    finally:
        writer.transport.abort()


async def leave_websocket(url: str, model: str | None = None, prompt: str = FLOOD) -> None:
    """Leave once some of the answer has come."""
    client = await connect(f"{url.replace('http', 'ws')}/ws", open_timeout=PATIENCE_S, compression=None)
    try:
        await ask(
            client, 1, "initialize", {"protocol_version": "1", "client": {"name": "test", "version": "1"}}
        )
        await heard(client, lambda message: message.get("id") == 1)
        long = {"max_tokens": LONG, "ignore_eos": True, "stream": True}
        await ask(client, 2, "generate", {"model": model, "prompt": prompt, **long})
        await heard(client, lambda message: message.get("method") == "$/stream")
    finally:
        client.transport.abort()
        await client.wait_closed()


async def ask(client: ClientConnection, id_: int, method: str, params: Body) -> None:
    await client.send(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}))


async def heard(client: ClientConnection, wanted: Callable[[Body], bool]) -> None:
    """Take messages until this one has come; nothing may fail."""
    while True:
        message = json.loads(await asyncio.wait_for(client.recv(), PATIENCE_S))
        assert "error" not in message, message
        if wanted(message):
            return


async def leave_in_every_way(toy: ToyGateway, times: int) -> None:
    for _ in range(times):
        for way in WAYS:
            await leave_http(toy.url, way)
        await leave_websocket(toy.url)


async def read_nothing(toy: ToyGateway, times: int) -> None:
    """Until the host gives up."""
    for way in [*WAYS] * times:
        _, writer = await toy.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined] # of asyncio's own transports
        writer.write(asked(way, "any", UNREAD_FLOOD))
        while await asyncio.wait_for(toy.service.ended.get(), PATIENCE_S) != UNREAD_FLOOD:
            pass
        writer.transport.abort()


async def ask_in_part(toy: ToyGateway, count: int) -> None:
    """Connections that never get as far as a request; others are answered meanwhile."""
    sent = [
        b"",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Le",
        asked("plain text", "any", FLOOD)[:-5],
    ]
    writers = [(await toy.connect())[1] for _ in range(count)]
    for number, writer in enumerate(writers):
        writer.write(sent[number % len(sent)])
    async with httpx.AsyncClient(base_url=toy.url, timeout=PATIENCE_S) as http:
        assert (await http.get("/health")).status_code == 200
    for writer in writers:
        writer.transport.abort()


def unsettled(toy: ToyGateway) -> int:
    """Connections, requests and bytes of them that the gateway still has."""
    server = toy.server._server
    assert server is not None
    calls = len(toy.server._gateway._calls) + len(toy.server._gateway._tasks)
    connections = len(server.server_state.connections) + len(server.server_state.tasks) + toy.host.connections
    return connections + calls + toy.host.requests + toy.host.budget.held


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("visit", "times"),
    [(leave_in_every_way, 10), (read_nothing, 2), (ask_in_part, 200)],
    ids=["leave", "read nothing", "ask in part"],
)
async def test_nothing_is_left_behind(
    visit: Callable[[ToyGateway, int], Awaitable[None]], times: int
) -> None:
    stall_timeout_s = 0.2 if visit is read_nothing else 60.0
    async with ToyGateway(Settings(open_loopback=True, stall_timeout_s=stall_timeout_s)) as toy:
        tasks = len(asyncio.all_tasks())
        await visit(toy, 1)  # what is made once is made
        await until(lambda: unsettled(toy) == 0 and len(asyncio.all_tasks()) == tasks)
        gc.collect()
        before = descriptors()
        await visit(toy, times)
        await until(lambda: unsettled(toy) == 0 and len(asyncio.all_tasks()) == tasks)
        await until(lambda: descriptors() <= before)


@pytest.fixture(scope="module")
def single(gateway_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose models have one sequence each: whoever is next waits until it is free."""
    single = {"type": "gguf", "threads": 1, "parallel": 1}
    slow = {**single, "path": str(gateway_models.parent / "slow.gguf"), "context_length": LONG + 64}
    models = {"slow": slow, "builtin": {**single, "path": str(BUILTIN)}}
    file = tmp_path_factory.mktemp("single") / "models.json"
    file.write_text(json.dumps({"default": "builtin", "models": models}))
    with served(file) as found:
        yield found


@pytest.mark.parametrize("model", ["slow", "builtin"])
@pytest.mark.parametrize("way", [*WAYS, "websocket"])
async def test_who_leaves_frees_the_sequence_for_the_next(single: Served, way: str, model: str) -> None:
    async with httpx.AsyncClient(base_url=single.url, timeout=PATIENCE_S) as http:
        for _ in range(3):
            if way == "websocket":
                await leave_websocket(single.url, model, "once")
            else:
                await leave_http(single.url, way, model, "once")
            next_one = {"model": model, "prompt": "once", "max_tokens": 4}
            assert (await http.post("/v1/completions", json=next_one)).status_code == 200
        deadline = time.monotonic() + PATIENCE_S
        while await in_use(http, model):
            assert time.monotonic() < deadline


async def in_use(http: httpx.AsyncClient, model: str) -> bool:
    """Whether anybody has the model."""
    text = (await http.get("/metrics")).text
    return any(
        sample.value > 0
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "native_host_model_requests" and sample.labels["model"] == model
    )
