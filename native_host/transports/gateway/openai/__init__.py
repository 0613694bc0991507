"""OpenAI's API, with and without `/v1`, as its official clients speak it."""

from __future__ import annotations

from fastapi import APIRouter

from native_host.transports.gateway.dialects import OPENAI
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.openai import chat, completions, embeddings, models


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = gateway.router(OPENAI)
    for part in (models, chat, completions, embeddings):
        part.add_routes(routes, gateway)
    return routes
