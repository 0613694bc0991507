"""llama-server as a child, asked over HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from harness.peers import tool

START_S = 60.0


class Server:
    """A llama-server that is ready."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port

    @property
    def port(self) -> int:
        """Where it listens, on this machine."""
        return self._port

    @property
    def resident_bytes(self) -> int:
        """Its resident memory."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def stream(self, tokens: list[int], count: int) -> Iterator[float]:
        """As `ours.Stream`."""
        asked = {"n_predict": count, "temperature": 0.0, "ignore_eos": True, "stream": True}
        with _answer(self._port, "POST", "/completion", {"prompt": tokens, **asked}) as answer:
            for line in answer:
                if line.startswith(b"data: ") and not json.loads(line[6:]).get("stop"):
                    yield time.perf_counter()


@contextmanager
def llama_server(
    model: Path, *, threads: int, slots: int, context: int, options: Sequence[str] = ()
) -> Iterator[Server]:
    """A server with so many slots, sharing a context of `context` tokens as our host's sequences do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [str(tool("llama-server")), "-m", str(model), "-t", str(threads), "--port", str(port)]
    command += ["-np", str(slots), "-c", str(context), "--kv-unified", "--no-webui", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_healthy(port)
            yield Server(process, port)
        finally:
            process.terminate()


def _wait_until_healthy(port: int) -> None:
    """Ask until the server says that it is ready. Raises TimeoutError."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            with _answer(port, "GET", "/health", None) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError("llama-server did not become ready")


@contextmanager
def _answer(
    port: int, method: str, path: str, body: dict[str, Any] | None
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        content = json.dumps(body) if body else None
        connection.request(method, path, content, {"Content-Type": "application/json"})
        yield connection.getresponse()
    finally:
        connection.close()
