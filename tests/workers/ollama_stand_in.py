"""A STAND-IN for an Ollama server, for tests: the shapes of its HTTP API over a model that only repeats.

It continues a prompt, or answers the last message, with the words that stand between `[` and `]` in it; `[]`
goes on until the connection is closed. Nothing of it computes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "words:latest"
EMBEDDER = "vectors:latest"


class Server(ThreadingHTTPServer):
    """What it has seen: how many connections, what bodies, how many requests at once and at most."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.bodies: list[dict[str, Any]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.closed_on_us = threading.Event()
        self.lock = threading.Lock()

    def get_request(self) -> Any:  # noqa: ANN401 - as the base class has it
        self.connections += 1
        return super().get_request()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.at_once += 1
            self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
        try:
            self.respond(body)
        except (BrokenPipeError, ConnectionResetError):
            self.server.closed_on_us.set()
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.at_once -= 1

    def respond(self, body: dict[str, Any]) -> None:
        model = body["model"]
        if model not in (MODEL, EMBEDDER):
            self.answer(404, {"error": f"model '{model}' not found"})
        elif self.path == "/api/show":
            self.answer(200, shown(model))
        elif self.path == "/api/embed":
            self.embed(body)
        elif model == EMBEDDER:
            self.answer(400, {"error": f'"{model}" does not support chat'})
        else:
            self.complete(body)

    def embed(self, body: dict[str, Any]) -> None:
        if body["model"] == MODEL:
            self.answer(501, {"error": "this model does not support embeddings"})
            return
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [[1.0, 0.0] if len(text) % 2 else [0.0, 1.0] for text in texts]
        self.answer(200, {"model": EMBEDDER, "embeddings": vectors, "prompt_eval_count": 7})

    def complete(self, body: dict[str, Any]) -> None:
        asked = body["messages"][-1]["content"] if self.path == "/api/chat" else body["prompt"]
        if asked == "busy":
            self.answer(503, {"error": "server busy, please try again. maximum pending requests exceeded"})
            return
        if asked == "memory":
            self.answer(500, {"error": "model requires more system memory (9.9 GiB) than is available"})
            return
        if asked == "silence":
            self.server.closed_on_us.wait(30)
        words = asked.partition("[")[2].partition("]")[0].split()
        if not body.get("stream", True):
            self.answer(200, self.part(" ".join(words), body, **ending(words, "stop")))
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if asked == "break":
            self.line(self.part("half", body))
            self.line({"error": "an error was encountered while running the model"})
        elif words or "[" not in asked:
            limit = body.get("options", {}).get("num_predict", -1)
            told = words if limit < 0 else words[:limit]
            for word in told:
                self.line(self.part(word + " ", body))
            self.line(self.part("", body, **ending(told, "stop" if told == words else "length")))
        else:
            while True:  # until the connection is closed
                self.line(self.part("on and on ", body))
                time.sleep(0.001)  # a token's time
        self.wfile.write(b"0\r\n\r\n")

    def part(self, text: str, body: dict[str, Any], **end: object) -> dict[str, Any]:
        told = {"response": text}
        if self.path == "/api/chat":
            told = {"message": {"role": "assistant", "content": text}}  # type: ignore[dict-item]
        return {"model": body["model"], "created_at": "2026-01-01T00:00:00Z", "done": False, **told, **end}

    def line(self, said: dict[str, Any]) -> None:
        payload = json.dumps(said).encode() + b"\n"
        self.wfile.write(f"{len(payload):x}\r\n".encode() + payload + b"\r\n")

    def answer(self, status: int, said: dict[str, Any]) -> None:
        payload = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


def shown(model: str) -> dict[str, Any]:
    """What `/api/show` says."""
    facts = {"general.architecture": "llama", "llama.context_length": 4096, "llama.embedding_length": 2}
    able = ["completion"] if model == MODEL else ["embedding"]
    return {"model_info": facts, "capabilities": able, "details": {"family": "llama"}}


def ending(words: list[str], reason: str) -> dict[str, Any]:
    """The members of a last line."""
    return {
        "done": True,
        "done_reason": reason,
        "total_duration": 5,
        "prompt_eval_count": 4,
        "eval_count": len(words),
    }


@contextmanager
def serving() -> Iterator[Server]:
    """A server of the test's own."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
