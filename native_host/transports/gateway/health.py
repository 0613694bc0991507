"""`/health`, open to all: what load balancers and parents ask while a host starts."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway, json_answer


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = gateway.router(OWN, open_to_all=True)

    @routes.get("/health")
    async def health(request: Request) -> Response:
        """Say that the host answers."""
        return json_answer({"status": "ok"})

    return routes
