"""What Ollama's clients call: `/api/{generate,chat,embed,embeddings,tags,show,ps,pull,delete,version}`, by
that API's own names and shapes. What it has and this host has no counterpart for is refused by name; options
that decide how a model is loaded belong to `models.json` and are not heeded.
"""

from __future__ import annotations

from fastapi import APIRouter

from native_host.transports.gateway.dialects import OLLAMA
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.ollama import embedding, generating, models, pulling


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = gateway.router(OLLAMA)
    for part in (generating, embedding, models, pulling):
        part.add_routes(routes, gateway)
    return routes
