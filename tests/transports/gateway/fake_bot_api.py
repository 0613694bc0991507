"""A FAKE of Telegram's Bot API: keeps the calls that it gets, and can refuse them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeBotApi(ThreadingHTTPServer):
    """`calls` are the methods with their params; `paths` where they were sent; `refusing` answers 429, and
    `troubles` are the first answers: a status, and after how many seconds to come again.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.refusing = False
        self.troubles: list[tuple[int, float | None]] = []

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeBotApi

    def do_POST(self) -> None:
        params = json.loads(self.rfile.read(int(self.headers["content-length"])))
        method = self.path.rpartition("/")[2]
        self.server.paths.append(self.path)
        self.server.calls.append((method, params))
        me = {"id": 7000, "is_bot": True, "first_name": "Bot", "username": "example_bot"}
        answer: dict[str, Any] = {"ok": True, "result": me if method == "getMe" else True}
        status = 429 if self.server.refusing else 200
        if self.server.troubles:
            status, retry_after = self.server.troubles.pop(0)
            answer = {"parameters": {"retry_after": retry_after}} if retry_after is not None else {}
        body = json.dumps({**answer, "ok": status == 200}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def fake_bot_api() -> Iterator[FakeBotApi]:
    """One that answers until the block is left."""
    server = FakeBotApi()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
