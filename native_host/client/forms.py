"""What an answer must look like, given as a mapping or as a Python type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

ResponseFormat = Mapping[str, object] | type
"""`{"type": "json_schema", "json_schema": …}` and the like (`docs/protocol.md`), or a type whose JSON the
answer must be: a pydantic model, a dataclass, a TypedDict, a msgspec Struct."""


def response_format(asked: ResponseFormat) -> dict[str, object]:
    """The param of the wire. Raises TypeError for a type that no schema can be made of."""
    if isinstance(asked, Mapping):
        return dict(asked)
    return {"type": "json_schema", "json_schema": schema_of(asked)}


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON schema of a type, without members that the type does not have. Raises TypeError."""
    of_pydantic = getattr(kind, "model_json_schema", None)
    try:
        schema = of_pydantic() if of_pydantic is not None else msgspec.json.schema(kind)
    except TypeError as error:
        raise TypeError(f"no JSON schema can be made of {kind!r}: {error}") from None
    return dict(_closed(schema))


def _closed(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    """Close every object whose members are listed: whoever reads the type ignores others, and a model that
    may go on often does.
    """
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
