"""Requests byte by byte as a test writes them: no client puts right what is wrong in them."""

from __future__ import annotations

import json
import socket
from typing import Any
from urllib.parse import urlsplit

import msgspec

PATIENCE_S = 100


class Raw(msgspec.Struct, frozen=True):
    """An answer: headers by their names in small letters, several of one name joined by line ends."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        """The body."""
        return json.loads(self.body)

    @property
    def kind(self) -> str | None:
        """What kind of error it is, in whichever dialect; None for no error."""
        error = self.json.get("error") if self.body.startswith(b"{") else None
        if not isinstance(error, dict):
            return None
        kind = error.get("kind") or error.get("code")
        return str(kind)


def send(url: str, request: bytes) -> Raw:
    """Send these bytes, and read until the host closes."""
    place = urlsplit(url)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 80), PATIENCE_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[name] = f"{headers[name]}\n{value.strip()}" if name in headers else value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _joined(body)
    return Raw(int(lines[0].split()[1]), headers, body)


def ask(
    url: str,
    target: str = "/v1/models",
    headers: list[tuple[str, str]] | None = None,
    *,
    method: str = "GET",
    body: bytes = b"",
    host: str | None = "",
) -> Raw:
    """A request with these headers, as they stand; `host` is the server's own unless given, None for none."""
    own = urlsplit(url).netloc
    lines = [f"{method} {target} HTTP/1.1", "Connection: close"]
    if host is not None:
        lines.append(f"Host: {host or own}")
    if body or method == "POST":
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers or []]
    return send(url, "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body)


def _joined(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        whole += rest[:length]
        body = rest[length + 2 :]
    return whole
