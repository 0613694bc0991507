"""The whole of the gateway as one application: every router, and answers to what no route is for."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from native_host import __version__
from native_host.protocol import errors
from native_host.transports.gateway import (
    docs,
    email,
    health,
    llama_server,
    ollama,
    openai,
    page,
    rest,
    telegram,
    websocket,
)
from native_host.transports.gateway.dialects import OPENAI, OWN, refusal
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.openapi import Description

ROUTERS: tuple[Callable[[Gateway], APIRouter], ...] = (
    health.router,
    rest.router,
    openai.router,
    ollama.router,
    llama_server.router,
    telegram.router,
    email.router,
    websocket.router,
    page.router,
)

OPENAI_PATHS = ("/v1/", "/models/")
"""What begins so is asked by a client of OpenAI's, even where there is no such route."""


def build(gateway: Gateway) -> FastAPI:
    """The application."""
    app = FastAPI(title="native-host", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    routes = [route for router in ROUTERS for route in router(gateway).routes]
    # Not by include_router: newer releases of FastAPI would hide the routes in routers of routers.
    app.router.routes.extend(routes)
    app.router.routes.extend(docs.router(gateway, Description(routes)).routes)
    app.add_exception_handler(HTTPException, _no_route)
    return app


async def _no_route(request: Request, error: Exception) -> Response:
    """No such path, or not by this HTTP method."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    dialect = OPENAI if path.startswith(OPENAI_PATHS) else OWN
    answer = refusal(errors.method_not_found(f"{request.method} {path}"), dialect)
    answer.status_code = error.status_code
    answer.headers.update(error.headers or {})
    return answer
