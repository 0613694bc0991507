"""The whole of the gateway as one application: every router, and answers to what no route is for."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from native_host import __version__
from native_host.protocol import errors
from native_host.transports.gateway import health, llama_server, openai, page, rest, websocket
from native_host.transports.gateway.dialects import OWN, refusal
from native_host.transports.gateway.gateway import Gateway

ROUTERS: tuple[Callable[[Gateway], APIRouter], ...] = (
    health.router,
    rest.router,
    openai.router,
    llama_server.router,
    websocket.router,
    page.router,
)


def build(gateway: Gateway) -> FastAPI:
    """The application."""
    app = FastAPI(title="native-host", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    for router in ROUTERS:
        app.include_router(router(gateway))
    app.add_exception_handler(HTTPException, _no_route)
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path, or not by this HTTP method."""
    assert isinstance(error, HTTPException)
    answer = refusal(errors.method_not_found(f"{request.method} {request.url.path}"), OWN)
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer
