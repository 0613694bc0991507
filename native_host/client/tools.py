"""Tools that a model may call, given as the wire has them, as Python functions, or as types."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import msgspec

from native_host.client.forms import schema_of

Tool = Mapping[str, object] | type | Callable[..., object]
"""`{"type": "function", "function": {…}}` (`docs/protocol.md`, Tools); a function, whose parameters have
types; or a type (a pydantic model, a dataclass, a TypedDict, a msgspec Struct), whose members are the
parameters. Descriptions are docstrings."""


def described(tool: Tool) -> dict[str, object]:
    """The tool as the wire has it. Raises TypeError for what no schema can be made of."""
    if isinstance(tool, Mapping):
        return dict(tool)
    schema = _inlined(schema_of(tool)) if isinstance(tool, type) else _parameters_of(tool)
    function: dict[str, object] = {"name": _name(tool), "parameters": schema}
    if isinstance(tool, type):
        description = schema.pop("description", None)
        schema.pop("title", None)
    else:
        description = inspect.getdoc(tool)
    if description:
        function["description"] = description
    return {"type": "function", "function": function}


def choice(asked: str | Tool) -> object:
    """`tool_choice` as the wire has it; a tool stands for itself."""
    if isinstance(asked, (str, Mapping)):
        return asked
    return {"type": "function", "function": {"name": _name(asked)}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with its members at the top, where it only refers to one."""
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    definitions = dict(schema.get("$defs", {}))
    if name not in definitions or f'"#/$defs/{name}"' in msgspec.json.encode(definitions).decode():
        return schema
    own = definitions.pop(name)
    return {**own, "$defs": definitions} if definitions else dict(own)


def _name(tool: type | Callable[..., object]) -> str:
    name = getattr(tool, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{tool!r} has no name to call it by")
    return name


def _parameters_of(function: Callable[..., object]) -> dict[str, Any]:
    """The schema of a function's arguments. Raises TypeError."""
    types = get_type_hints(function, include_extras=True)
    members: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{_name(function)}: {parameter} cannot be given by its name")
        if parameter.name not in types:
            raise TypeError(f"{_name(function)}: the parameter {parameter.name} has no type")
        kind = types[parameter.name]
        if parameter.default is parameter.empty:
            members.append((parameter.name, kind))
        else:
            members.append((parameter.name, kind, msgspec.field(default=None)))
    arguments = msgspec.defstruct("Arguments", members, kw_only=True)
    schema = _inlined(schema_of(arguments))
    # Which default a function has is its own affair: one that the model leaves out is not sent.
    for member in schema.get("properties", {}).values():
        member.pop("default", None)
    schema.pop("title", None)
    return schema
