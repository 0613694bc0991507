"""The OpenRPC document that `rpc.discover` answers, made from the method table, the types and the
catalogue."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from native_host import __version__
from native_host.protocol import messages
from native_host.protocol.errors import CATALOGUE
from native_host.protocol.methods import CLIENT_NOTIFICATIONS, METHODS, Method

_NOTIFICATIONS = {
    "$/stream": messages.StreamNotification,
    "$/progress": messages.ProgressNotification,
    "$/chunk": messages.ChunkNotification,
}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The document (OpenRPC 1.3.2). Treat it as read-only: it is built once."""
    params = {name: method.params for name, method in METHODS.items()}
    results = {name: method.result for name, method in METHODS.items() if method.result is not None}
    types = [*params.values(), *results.values(), *_NOTIFICATIONS.values()]
    schemas, components = msgspec.json.schema_components(
        types, schema_hook=_schema_of_raw, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip([id(type_) for type_ in types], schemas, strict=True))
    return {
        "openrpc": "1.3.2",
        "info": {"title": "native-host", "version": __version__, "license": {"name": "MIT"}},
        "methods": [_describe(method, components, by_type) for method in METHODS.values()],
        "components": {"schemas": components, "errors": _errors()},
        "x-notifications": {
            "toHost": list(CLIENT_NOTIFICATIONS),
            "fromHost": {name: by_type[id(type_)] for name, type_ in _NOTIFICATIONS.items()},
        },
    }


def _describe(
    method: Method, components: dict[str, Any], by_type: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    shape = components[method.params.__name__]
    required = set(shape.get("required", []))
    members = shape.get("properties", {})
    result = by_type[id(method.result)] if method.result is not None else {"type": "null"}
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema} for name, schema in members.items()
        ],
        "result": {"name": "result", "schema": result},
        "errors": [{"$ref": f"#/components/errors/{kind}"} for kind in CATALOGUE],
        **({"x-scope": method.scope} if method.scope else {}),
    }


def _errors() -> dict[str, Any]:
    """The catalogue. `data` of an OpenRPC error is any value: here the names of its members."""
    return {
        row.kind: {"code": row.code, "message": row.kind, "data": {"members": ["kind", *row.data]}}
        for row in CATALOGUE.values()
    }


def _schema_of_raw(type_: type) -> dict[str, Any]:
    if type_ is msgspec.Raw:
        return {}
    raise NotImplementedError(type_)
