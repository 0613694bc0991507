"""The protocol's types as TypeScript declarations, for the JavaScript client (`web/client/protocol.d.ts`).

Made from the JSON Schema of the same types that the host decodes, so that a client that names a member the
host does not know fails its check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from native_host.protocol import messages
from native_host.protocol.errors import CATALOGUE
from native_host.protocol.methods import METHODS

Schema = Mapping[str, Any]

_HEADER = "// Written by scripts/generate_docs.py from native_host/protocol. Do not edit.\n\n"
_BESIDE = (
    messages.StreamNotification,
    messages.ProgressNotification,
    messages.ChunkNotification,
    messages.ChunkedResult,
)
"""What is sent beside params and results."""

_TYPES = {
    "string": "string",
    "integer": "number",
    "number": "number",
    "boolean": "boolean",
    "null": "null",
}


def declarations() -> str:
    """The whole file."""
    params = {name: method.params for name, method in METHODS.items()}
    results = {name: method.result for name, method in METHODS.items()}
    types = [*params.values(), *results.values(), *_BESIDE]
    found, components = msgspec.json.schema_components(
        types, schema_hook=lambda type_: {}, ref_template="{name}"
    )
    interfaces = [_interface(name, components[name]) for name in sorted(components)]
    asked, answered = found[: len(params)], found[len(params) :]
    methods = [
        f"  {json.dumps(name)}: {{ params: {type_of(asked[at])}; result: {type_of(answered[at])} }};"
        for at, name in enumerate(METHODS)
    ]
    kinds = " | ".join(json.dumps(kind) for kind in CATALOGUE)
    return (
        _HEADER
        + "\n".join(interfaces)
        + f"\nexport type ErrorKind = {kinds};\n"
        + "\nexport interface Methods {\n"
        + "\n".join(methods)
        + "\n}\n"
    )


def type_of(schema: Schema) -> str:
    """One JSON Schema as a type."""
    if "$ref" in schema:
        return str(schema["$ref"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        members = dict.fromkeys(type_of(member) for member in schema["anyOf"])
        return "unknown" if "unknown" in members else " | ".join(members)
    kind = schema.get("type")
    if kind == "array":
        member = type_of(schema.get("items", {}))
        return f"({member})[]" if "|" in member else f"{member}[]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"Record<string, {type_of(values) if isinstance(values, Mapping) else 'unknown'}>"
    return _TYPES.get(str(kind), "unknown")


def _interface(name: str, schema: Schema) -> str:
    required = set(schema.get("required", ()))
    lines = [
        f"  {member}{'' if member in required else '?'}: {type_of(shape)};"
        for member, shape in schema.get("properties", {}).items()
    ]
    about = " ".join(str(schema.get("description", "")).split())
    doc = f"/** {about} */\n" if about else ""
    return f"{doc}export interface {name} {{\n" + "".join(f"{line}\n" for line in lines) + "}\n"
