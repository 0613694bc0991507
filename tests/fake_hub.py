"""A stand-in for the hub, as a real HTTP server: repositories' listings, `resolve` with its redirect to
another host name, Range, ETag; and what goes wrong with real ones: breaks, refusals, damaged files.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
_PIECE = 1 << 16


class Repo:
    """What one repository holds, and how it is to misbehave."""

    def __init__(self, files: dict[str, bytes], *, lfs_over: int = 1000) -> None:
        self.files = files
        self.lfs_over = lfs_over
        self.token: str | None = None
        self.gated = False
        self.damaged: set[str] = set()
        self.claimed_sizes: dict[str, int] = {}

    def listing(self, name: str) -> dict[str, Any]:
        siblings = []
        for path, content in self.files.items():
            size = self.claimed_sizes.get(path, len(content))
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sibling: dict[str, Any] = {"rfilename": path, "size": size, "blobId": blob}
            if len(content) > self.lfs_over:
                sha256 = hashlib.sha256(content).hexdigest()
                sibling["lfs"] = {"sha256": sha256, "size": size, "pointerSize": 135}
            siblings.append(sibling)
        return {"id": name, "modelId": name, "sha": COMMIT, "siblings": siblings, "tags": [], "downloads": 0}


class FakeHub:
    """Repositories by name, and a memory of what was asked. `break_after`: bytes of a file after which the
    connection is cut, one number a request; `held` stops every answer in its middle until it is set."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.sent = 0
        self.break_after: list[int] = []
        self.held: threading.Event | None = None
        self.half_sent = threading.Event()
        self.authorized_elsewhere = False
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen; at the same port as before, after a stop."""
        hub = self

        class Handler(_Handler):
            """Knows its hub."""

            the_hub = hub

        ThreadingHTTPServer.allow_reuse_address = True
        ThreadingHTTPServer.daemon_threads = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self.held is not None:
            self.held.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def asked(self, ending: str) -> list[str | None]:
        """The `Range` of every request for a file's content, in order."""
        return [
            range_ for path, range_ in self.requests if path.startswith("/cdn/") and path.endswith(ending)
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    the_hub: FakeHub

    def do_GET(self) -> None:
        hub = self.the_hub
        path = unquote(urlsplit(self.path).path)
        hub.requests.append((path, self.headers.get("Range")))
        if listing := re.fullmatch(r"/api/models/([^/]+/[^/]+)", path):
            self._list(listing.group(1))
        elif resolve := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(resolve.group(1), resolve.group(3))
        elif content := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            hub.authorized_elsewhere |= "Authorization" in self.headers
            self._content(content.group(1), content.group(2))
        else:
            self._refuse(404, "EntryNotFound")

    def _repo(self, name: str) -> Repo | None:
        repo = self.the_hub.repos.get(name)
        if repo is None or (repo.token and self.headers.get("Authorization") != f"Bearer {repo.token}"):
            self._refuse(401, "RepoNotFound")
            return None
        if repo.gated:
            self._refuse(403, "GatedRepo")
            return None
        return repo

    def _list(self, name: str) -> None:
        repo = self._repo(name)
        if repo is not None:
            self._whole(200, json.dumps(repo.listing(name)).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, path: str) -> None:
        repo = self._repo(name)
        if repo is None:
            return
        if path not in repo.files:
            self._refuse(404, "EntryNotFound")
            return
        content = repo.files[path]
        headers = {
            "Location": f"http://localhost:{self.the_hub.port}/cdn/{name}/{path}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Linked-Size": str(len(content)),
        }
        self._whole(302, b"", headers)

    def _content(self, name: str, path: str) -> None:
        repo = self.the_hub.repos[name]
        content = repo.files[path]
        if path in repo.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        begin = 0
        if ranged := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(ranged.group(1))
            if begin >= len(content):
                self._whole(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - begin))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        self._send(content[begin:])

    def _send(self, content: bytes) -> None:
        hub = self.the_hub
        cut = hub.break_after.pop(0) if hub.break_after else None
        limit = len(content) if cut is None else min(cut, len(content))
        for at in range(0, limit, _PIECE):
            piece = content[at : min(at + _PIECE, limit)]
            try:
                self.wfile.write(piece)
            except OSError:
                return
            hub.sent += len(piece)
            if hub.held is not None and at + _PIECE >= limit // 2:
                self.wfile.flush()
                hub.half_sent.set()
                hub.held.wait()
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)

    def _refuse(self, status: int, code: str) -> None:
        self._whole(status, b"", {"X-Error-Code": code})

    def _whole(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens until the context ends."""
    hub = FakeHub()
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
