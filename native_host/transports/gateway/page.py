"""`/`: the chat page and its client, as plain files. The page itself asks for a key where one is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

import native_host
from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_SHOWN = ("index.html", "main.js", "client.js", "client", "page", "vendor")
"""What of the folder is served: the rest is for those who work on it."""

_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def router(gateway: Gateway) -> APIRouter:
    """A route for each file."""
    routes = gateway.router(OWN, open_to_all=True)
    for path, file in files(folder()).items():
        routes.add_api_route(path, _answers(file), methods=["GET"], include_in_schema=False)
    return routes


def folder() -> Path:
    """Where the page lies: in the package, or in a checkout beside it."""
    package = Path(native_host.__file__).parent
    shipped = package / "web"
    return shipped if shipped.is_dir() else package.parent / "web"


def files(web: Path) -> dict[str, Path]:
    """The files that are served, by their paths."""
    shown = [web / name for name in _SHOWN]
    every = [file for place in shown for file in (sorted(place.rglob("*")) if place.is_dir() else [place])]
    served = {f"/{file.relative_to(web).as_posix()}": file for file in every if file.suffix in _TYPES}
    return {"/": web / "index.html", **served}


def _answers(file: Path) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        body = file.read_bytes()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {**HEADERS, "Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=_TYPES[file.suffix])

    return answer
