"""Asks any server that speaks llama-server's `/completion` over bare sockets, so that the client costs little
and the same on both sides.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from websockets.asyncio.client import connect

from harness.ours import NAME, Key

_END = b"0\r\n\r\n"


class Arrivals(msgspec.Struct):
    """One streamed answer: seconds from the request to each piece of it. `whole` where it came to its end."""

    whole: bool
    at: list[float]


def completion(port: int, tokens: list[int], count: int) -> bytes:
    """A request for `count` tokens after a prompt of token ids, streamed."""
    asked = {"n_predict": count, "temperature": 0.0, "ignore_eos": True, "stream": True}
    body = json.dumps({"prompt": tokens, **asked}).encode()
    head = f"POST /completion HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def streamed(port: int, tokens: list[int], count: int) -> Arrivals:
    """`count` tokens after a prompt of token ids."""
    request = completion(port, tokens, count)
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    found = Arrivals(whole=False, at=[])
    try:
        status = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in status.partition(b"\r\n")[0]:
            return found
        tail = b""
        while not found.whole:
            data = await reader.read(65536)
            if not data:
                return found
            if b"data: " in data:
                found.at.append(time.perf_counter() - began)
            tail = (tail + data)[-len(_END) :]
            found.whole = tail == _END
    finally:
        writer.close()
    return found


async def left(port: int, tokens: list[int], count: int) -> None:
    """Ask for a stream of so many tokens, and leave when the first has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(completion(port, tokens, count))
    await reader.readuntil(b"data: ")
    writer.transport.abort()


async def left_websocket(port: int, tokens: list[int], count: int) -> None:
    """The same over our WebSocket."""
    who = {"protocol_version": "1", "client": {"name": "benchmark", "version": "1"}}
    asked = {"prompt": tokens, "max_tokens": count, "temperature": 0.0, "ignore_eos": True, "stream": True}
    client = await connect(f"ws://127.0.0.1:{port}/ws")
    for number, (method, params) in enumerate([("initialize", who), ("generate", asked)]):
        await client.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}))
        message = json.loads(await client.recv())
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
    client.transport.abort()


async def crowd(port: int, prompts: list[list[int]], count: int) -> list[Arrivals]:
    """All at once."""
    return await asyncio.gather(*(streamed(port, tokens, count) for tokens in prompts))


async def health(port: int, connections: int, requests: int) -> list[float]:
    """Seconds of each of `requests` to `/health`, over so many connections that stay open."""
    asked = f"GET /health HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    took: list[float] = []

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while len(took) < requests:
            began = time.perf_counter()
            writer.write(asked)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:  # some servers close a connection after a hundred requests
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                continue
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


@contextmanager
def served(model: Path, entry: Mapping[str, Key]) -> Iterator[int]:
    """The port of our gateway, whose only model this is."""
    known = {name: value for name, value in entry.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "models.json"
        models = {NAME: {"type": "gguf", "path": str(model), **known}}
        registry.write_text(json.dumps({"models": models}), encoding="utf-8")
        command = [sys.executable, "-m", "native_host", "serve", "--http", "127.0.0.1:0", "--open-loopback"]
        with subprocess.Popen(
            [*command, "--json", "--models", str(registry)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                assert process.stdout is not None
                port = urlsplit(json.loads(process.stdout.readline())["http"]).port
                assert port is not None
                asyncio.run(streamed(port, [300, 301], 1))
                yield port
            finally:
                process.terminate()
