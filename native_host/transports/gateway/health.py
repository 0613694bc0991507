"""Whether the host is well, open to all: what load balancers and parents ask while it starts."""

from __future__ import annotations

from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from native_host import __version__
from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.host import Host

LOADING = "loading model"


WORDS = ("/health", "/v1/health")
"""Where a word is answered."""


class Health(Struct, kw_only=True):
    """`ok`, or `loading model` while the models that are always to be there are loaded."""

    status: str


class DetailedHealth(Struct, kw_only=True):
    """`healthy`, `degraded` with the problems, or `loading model`."""

    status: str
    version: str
    uptime_s: float
    requests_in_flight: int
    problems: list[str]


def router(gateway: Gateway) -> APIRouter:
    """The routes: two for programs that want a word, two that say more."""
    routes = gateway.router(OWN, open_to_all=True)
    host = gateway.host

    async def health(request: Request) -> Response:
        """Say that the host answers; 503 while it loads the models that it starts with."""
        return _word(host)

    async def detailed(request: Request) -> Response:
        """Say whether all is well, and what is not."""
        found = host.health(name_files=False)
        status = LOADING if host.loading else "healthy" if found.status == "ok" else found.status
        return json_answer(
            DetailedHealth(
                status=status,
                version=__version__,
                uptime_s=found.uptime_s,
                requests_in_flight=found.requests_in_flight,
                problems=found.problems,
            ),
            status=503 if host.loading else 200,
        )

    word = Operation(answer=Health, answered=Health(status="ok"), statuses=(503,))
    add(routes, WORDS, health, word, "GET")
    well = DetailedHealth(
        status="healthy", version=__version__, uptime_s=3600.0, requests_in_flight=0, problems=[]
    )
    more = Operation(answer=DetailedHealth, answered=well, statuses=(503,))
    add(routes, ("/api/v1/health", "/api/health"), detailed, more, "GET")
    return routes


def answering_at_once(app: ASGIApp, host: Host) -> ASGIApp:
    """The application, with the word answered before it looks for a route: some ask many times a second."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in WORDS
        await (_word(host) if asked else app)(scope, receive, send)

    return answer


def _word(host: Host) -> Response:
    if host.loading:
        return json_answer(Health(status=LOADING), status=503)
    return json_answer(Health(status="ok"))
