"""`/openapi.json`, and `/docs`: the same for people, as one plain page without any script."""

from __future__ import annotations

import html
import json
from functools import lru_cache
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.openapi import Description
from native_host.transports.gateway.page import HEADERS

STYLE = """
:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .5rem; }
summary { cursor: pointer; padding: .25rem 0; }
code { font-family: ui-monospace, monospace; }
h2 { margin-top: 2rem; border-bottom: 1px solid; }
"""


def router(gateway: Gateway, description: Description) -> APIRouter:
    """Open to all: what is here is in the source too."""
    routes = gateway.router(OWN, open_to_all=True)

    async def document(request: Request) -> Response:
        """The OpenAPI document."""
        return json_answer(description.document)

    async def page(request: Request) -> Response:
        """It as a page."""
        return Response(rendered(description), headers=HEADERS, media_type="text/html; charset=utf-8")

    async def style(request: Request) -> Response:
        """The page's style."""
        return Response(STYLE, headers=HEADERS, media_type="text/css; charset=utf-8")

    for path, endpoint in {"/openapi.json": document, "/docs": page, "/docs.css": style}.items():
        routes.add_api_route(path, endpoint, methods=["GET"], response_model=None, include_in_schema=False)
    return routes


@lru_cache(maxsize=1)
def rendered(description: Description) -> str:
    """The page: each operation with its example, folded away until it is opened."""
    tags: dict[str, list[str]] = {}
    for path, methods in description.document["paths"].items():
        for method, operation in methods.items():
            tags.setdefault(operation["tags"][0], []).append(_section(path, method.upper(), operation))
    parts = "".join(f"<h2>{html.escape(tag)}</h2>{''.join(sections)}" for tag, sections in tags.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>native-host: HTTP</title>'
        '<link rel="stylesheet" href="/docs.css"></head><body><main><h1>What is answered here</h1>'
        '<p>The same for programs: <a href="/openapi.json">openapi.json</a>. A key goes into'
        " <code>Authorization: Bearer KEY</code> or <code>X-API-Key: KEY</code>.</p>"
        f"{parts}</main></body></html>"
    )


def _section(path: str, method: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    answers = operation["responses"]["200"]["content"]
    shown = f"<pre><code>{html.escape(_curl(path, method, body))}</code></pre>"
    if body is not None:
        name = body["schema"].get("$ref", "").rpartition("/")[2]
        shown += f"<p>Body: <code>{html.escape(name)}</code></p>"
    for media_type, answer in answers.items():
        example = answer["example"]
        told = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
        shown += f"<p><code>{html.escape(media_type)}</code></p><pre><code>{html.escape(told)}</code></pre>"
    head = f"<code>{method} {html.escape(path)}</code> {html.escape(operation['summary'])}"
    return f"<details><summary>{head}</summary>{shown}</details>"


def _curl(path: str, method: str, body: dict[str, Any] | None) -> str:
    if body is None:
        return f"curl -X {method} http://127.0.0.1:8089{path}"
    example = json.dumps(body["example"])
    return f"curl http://127.0.0.1:8089{path} -H 'Content-Type: application/json' -d '{example}'"
