"""The document that describes every route: OpenAPI 3.1, made from the routes' operations and the types that
they decode and encode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from native_host import __version__
from native_host.transports.gateway.gateway import GatewayRoute
from native_host.transports.gateway.operations import KEY, Operation
from native_host.transports.gateway.streaming import SSE
from native_host.transports.gateway.telegram.authentication import SECRET_HEADER, TELEGRAM

_JSON = "application/json"
_REFUSALS = {
    400: "The body is no JSON.",
    401: "No API key, or one that nobody has.",
    403: "The key may not do this.",
    404: "No such model, session or adapter.",
    409: "The model is not on this machine.",
    413: "More input than is allowed, or than the model can read.",
    422: "A member of the body is wrong, or the content is refused.",
    429: "Too many requests, or the quota is used up; Retry-After says when.",
    499: "The request was cancelled.",
    500: "A fault of the host's, or the model could not be loaded.",
    501: "Not supported by this host or this model.",
    502: "The model's worker died.",
    503: "Too much is waiting, or the host is about to end.",
    504: "The request took longer than its time.",
    507: "Not enough memory for the model.",
}


class Description:
    """The document of these routes. `operations` are those that say what they take and give."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self.operations = [
            (route, route.openapi_extra[KEY])
            for route in routes
            if isinstance(route, GatewayRoute) and route.openapi_extra and KEY in route.openapi_extra
        ]

    @cached_property
    def document(self) -> dict[str, Any]:
        """Treat it as read-only: it is built once."""
        types = [*self._types()]
        schemas, components = msgspec.json.schema_components(
            types, ref_template="#/components/schemas/{name}"
        )
        schema_of = dict(zip(map(_key, types), schemas, strict=True))
        paths: dict[str, dict[str, Any]] = {}
        for route, operation in self.operations:
            for method in route.methods or ():
                path = route.path_format
                paths.setdefault(path, {})[method.lower()] = _described(route, method, operation, schema_of)
        return {
            "openapi": "3.1.0",
            "info": {"title": "native-host", "version": __version__, "license": {"name": "MIT"}},
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                    TELEGRAM: {"type": "apiKey", "in": "header", "name": SECRET_HEADER},
                },
            },
        }

    def _types(self) -> Iterable[Any]:
        found = {}
        for route, operation in self.operations:
            for type_ in (operation.body, *_several(operation.answer), route.speaks.shape):
                if type_ is not None:
                    found[_key(type_)] = type_
        return found.values()


def _several(answer: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type, or several
    return answer if isinstance(answer, tuple) else (answer,)


def _key(type_: object) -> str:
    """Unions and lists are made anew each time, so that they have no identity."""
    return repr(type_)


def _described(
    route: GatewayRoute, method: str, operation: Operation, schema_of: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9]+", "_", f"{method.lower()}{route.path_format}").strip("_")
    text = (route.endpoint.__doc__ or "").strip()
    found: dict[str, Any] = {
        "operationId": name,
        "summary": text.splitlines()[0] if text else name,
        "tags": [route.speaks.name],
        "responses": _responses(route, operation, schema_of),
        "security": [{name: []} for name in route.shows],
    }
    if operation.body is not None:
        content = {"schema": schema_of[_key(operation.body)], "example": operation.example}
        found["requestBody"] = {"required": True, "content": {_JSON: content}}
    names = re.findall(r"{(\w+)}", route.path_format)
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    return found


def _responses(
    route: GatewayRoute, operation: Operation, schema_of: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    if operation.answer is str:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        schemas = [schema_of[_key(answer)] for answer in _several(operation.answer)]
        content = {_JSON: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}
    for media_type in operation.streams:
        plain = media_type.partition(";")[0]
        content[plain] = {} if plain == SSE else {"schema": {"type": "string"}}
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    refused = {_JSON: {"schema": schema_of[_key(route.speaks.shape)]}}
    if not route.shows:
        for status in operation.statuses:
            responses[str(status)] = {"description": "Not yet.", "content": content}
        return responses
    for status, text in _REFUSALS.items():
        responses[str(status)] = {"description": text, "content": refused}
    return responses
