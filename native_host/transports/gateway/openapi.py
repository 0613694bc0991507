"""The document that describes every route: OpenAPI 3.1, made from the routes' operations and the types that
they decode and encode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec
from starlette.routing import BaseRoute

from native_host import __version__
from native_host.protocol import errors
from native_host.protocol.errors import RpcError, http_status
from native_host.transports.gateway.dialects import Dialect
from native_host.transports.gateway.gateway import GatewayRoute
from native_host.transports.gateway.operations import KEY, Operation
from native_host.transports.gateway.streaming import SSE
from native_host.transports.gateway.telegram.authentication import SECRET_HEADER, TELEGRAM

MODEL = "tabagent-demo"
"""The model of the examples."""

_JSON = "application/json"
_STRING = {"type": "string"}
_REFUSALS = {
    "The body is no JSON.": errors.parse_error("it ends too early"),
    "No API key, or one that nobody has.": errors.unauthenticated("api_key", "", "no such API key"),
    "The key may not do this.": errors.permission_denied("infer"),
    "No such model, session or adapter.": errors.model_not_found("tabagent-dmo", ["tabagent-demo"]),
    "The model is not on this machine.": errors.model_absent("llama", "native-host models pull llama"),
    "More input than is allowed, or than the model can read.": errors.input_too_long(1024, tokens=5000),
    "A member of the body is wrong, or the content is refused.": errors.invalid_params(
        "max_tokens", "must be above 0"
    ),
    "Too many requests, or the quota is used up; Retry-After says when.": errors.rate_limited(
        12.0, "30 requests a minute are allowed", 30
    ),
    "The request was cancelled.": errors.cancelled(),
    "A fault of the host's, or the model could not be loaded.": errors.internal_error("5f2c9a01"),
    "Not supported by this host or this model.": errors.unsupported("reranking"),
    "The model's worker died.": errors.worker_crashed(attempts=2),
    "Too much is waiting, or the host is about to end.": errors.overloaded(64, 1.0),
    "The request took longer than its time.": errors.timeout(),
    "Not enough memory for the model.": errors.insufficient_memory(8_000_000_000, 4_000_000_000),
}
"""Each status, by one of the errors that have it."""


Schemas = Mapping[str, dict[str, Any]]
"""The schemas of types, by `_key`."""


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
                described = _described(route, method, operation, schema_of)
                if operation.query is not None:
                    named = schema_of[_key(operation.query)]["$ref"].rpartition("/")[2]
                    described["parameters"] = _in_query(components[named])
                paths.setdefault(route.path_format, {})[method.lower()] = described
        return {
            "openapi": "3.1.0",
            "info": {"title": "native-host", "version": __version__, "license": {"name": "MIT"}},
            "paths": paths,
            "components": {
                "schemas": components,
                "responses": self._refusals(schema_of),
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
            taken = (operation.body, operation.query)
            for type_ in (*taken, *_several(operation.answer), route.speaks.shape):
                if type_ is not None:
                    found[_key(type_)] = type_
        return found.values()

    def _refusals(self, schema_of: Schemas) -> dict[str, Any]:
        """Each error in each dialect, with an example."""
        dialects = {route.speaks.name: route.speaks for route, _ in self.operations}
        return {
            _refusal_name(dialect, error): {
                "description": text,
                "content": {
                    _JSON: {"schema": schema_of[_key(dialect.shape)], "example": dialect.body(error)}
                },
            }
            for dialect in dialects.values()
            for text, error in _REFUSALS.items()
        }


def _several(answer: Any) -> tuple[Any, ...]:  # noqa: ANN401 - a type, or several
    return answer if isinstance(answer, tuple) else (answer,)


def _key(type_: object) -> str:
    """Unions and lists are made anew each time, so that they have no identity."""
    return repr(type_)


def _refusal_name(dialect: Dialect, error: RpcError) -> str:
    return f"{dialect.name}-{http_status(error.kind)}"


def _described(route: GatewayRoute, method: str, operation: Operation, schema_of: Schemas) -> dict[str, Any]:
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
        content = {_JSON: {"schema": schema_of[_key(operation.body)], "example": operation.example}}
        content |= {media_type: _text(example) for media_type, example in operation.texts.items()}
        found["requestBody"] = {"required": True, "content": content}
    names = re.findall(r"{(\w+)}", route.path_format)
    if names:
        found["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": _STRING, "example": MODEL}
            for name in names
        ]
    return found


def _in_query(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Members of a struct as what can stand in an address, where nothing is null."""
    return [
        {
            "name": name,
            "in": "query",
            "description": "For bodies that are not JSON, which have it as a member.",
            "schema": _without_null(member),
        }
        for name, member in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" not in schema:
        return schema
    [found] = [each for each in schema["anyOf"] if each != {"type": "null"}]
    return dict(found)


def _text(example: str) -> dict[str, Any]:
    return {"schema": _STRING, "example": example}


def _responses(route: GatewayRoute, operation: Operation, schema_of: Schemas) -> dict[str, Any]:
    if operation.answer is str:
        content = {"text/plain": _text(str(operation.answered))}
    else:
        schemas = [schema_of[_key(answer)] for answer in _several(operation.answer)]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        content = {_JSON: {"schema": schema, "example": msgspec.to_builtins(operation.answered)}}
    for media_type, example in operation.streams.items():
        plain = media_type.partition(";")[0]
        content[plain] = {"example": example} if plain == SSE else _text(example)
    responses: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if not route.shows:
        for status in operation.statuses:
            responses[str(status)] = {"description": "Not yet.", "content": content}
        return responses
    for error in _REFUSALS.values():
        name = _refusal_name(route.speaks, error)
        responses[str(http_status(error.kind))] = {"$ref": f"#/components/responses/{name}"}
    return responses
