"""What is wrong with tools is said, with its place, before any model is asked."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from native_host.protocol.envelopes import decode_params
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ChatParams
from native_host.service.tools import check_calls, offer

ASK = {"role": "user", "content": "?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def tool(**function: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def called(**call: object) -> list[dict[str, Any]]:
    return [ASK, {"role": "assistant", "tool_calls": [{**CALL, **call}]}]


def checked(params: dict[str, Any]) -> None:
    """As a request is: decoded, then checked."""
    asked = decode_params(msgspec.Raw(json.dumps({"messages": [ASK], **params}).encode()), ChatParams)
    check_calls(asked.messages)
    offer(asked)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"tools": {}}, "tools", "array"),
    ({"tools": "f"}, "tools", "array"),
    ({"tools": 5}, "tools", "array"),
    ({"tools": ["f"]}, "tools[0]", "object"),
    ({"tools": [None]}, "tools[0]", "object"),
    ({"tools": [[]]}, "tools[0]", "object"),
    ({"tools": [{}]}, "tools[0].type", "required"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "required"),
    ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "required"),
    ({"tools": [{"type": "retrieval", "function": {"name": "f"}}]}, "tools[0].type", "retrieval"),
    ({"tools": [{"type": 5, "function": {"name": "f"}}]}, "tools[0].type", "str"),
    ({"tools": [{"type": None, "function": {"name": "f"}}]}, "tools[0].type", "null"),
    ({"tools": [{"type": "function", "function": None}]}, "tools[0].function", "object"),
    ({"tools": [{"type": "function", "function": "f"}]}, "tools[0].function", "object"),
    ({"tools": [{"type": "function", "function": []}]}, "tools[0].function", "object"),
    ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "required"),
    ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].name", "unknown"),
    ({"tools": [{"name": "f", "parameters": {}}]}, "tools[0].name", "unknown"),
    ({"tools": [{**tool(), "colour": "red"}]}, "tools[0].colour", "unknown"),
    ({"tools": [tool(colour="red")]}, "tools[0].function.colour", "unknown"),
    ({"tools": [tool(arguments={})]}, "tools[0].function.arguments", "unknown"),
    ({"tools": [tool(name=None)]}, "tools[0].function.name", "null"),
    ({"tools": [tool(name=5)]}, "tools[0].function.name", "int"),
    ({"tools": [tool(name="")]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(name="two words")]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(name='a"b')]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(name="naïve")]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(name="line\n")]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(name="x" * 65)]}, "tools[0].function.name", "1 to 64"),
    ({"tools": [tool(), tool()]}, "tools[1].function.name", "tools[0]"),
    ({"tools": [tool(name="g"), tool(), tool()]}, "tools[2].function.name", "tools[1]"),
    ({"tools": [tool(name=f"f{n}") for n in range(129)]}, "tools", "128"),
    ({"tools": [tool(description=5)]}, "tools[0].function.description", "int"),
    ({"tools": [tool(strict="yes")]}, "tools[0].function.strict", "bool"),
    ({"tools": [tool(parameters=[])]}, "tools[0].function.parameters", "object"),
    ({"tools": [tool(parameters="{}")]}, "tools[0].function.parameters", "object"),
    ({"tools": [tool(parameters=True)]}, "tools[0].function.parameters", "object"),
    ({"tools": [tool(parameters={"type": "string"})]}, "tools[0].function.parameters.type", "object"),
    ({"tools": [tool(parameters={"type": ["object"]})]}, "tools[0].function.parameters.type", "object"),
    ({"tools": [tool(parameters={"properties": []})]}, "tools[0].function.parameters.properties", "object"),
    (
        {"tools": [tool(parameters={"properties": {"x": "string"}})]},
        "tools[0].function.parameters.properties.x",
        "schema",
    ),
    ({"tools": [tool(parameters={"required": "x"})]}, "tools[0].function.parameters.required", "list"),
    ({"tools": [tool(parameters={"required": [5]})]}, "tools[0].function.parameters.required", "list"),
    ({"tool_choice": "required"}, "tool_choice", "no tools"),
    ({"tools": [], "tool_choice": "required"}, "tool_choice", "no tools"),
    ({"tools": [tool()], "tool_choice": "always"}, "tool_choice", "always"),
    ({"tools": [tool()], "tool_choice": 5}, "tool_choice", "int"),
    ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice.function", "required"),
    (
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice.function.name",
        "none of the tools",
    ),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice.function.name", "none"),
    ({"tools": [tool()], "parallel_tool_calls": "no"}, "parallel_tool_calls", "bool"),
    ({"tools": [tool()], "response_format": {"type": "json_object"}}, "response_format", "tools"),
    ({"messages": [{**ASK, "tool_calls": [CALL]}]}, "messages[0].tool_calls", "user"),
    ({"messages": called(id=None)}, "messages[1].tool_calls[0].id", "missing"),
    ({"messages": called(id=5)}, "messages[1].tool_calls[0].id", "int"),
    ({"messages": called(type="code")}, "messages[1].tool_calls[0].type", "code"),
    (
        {"messages": called(function={"name": "f"})},
        "messages[1].tool_calls[0].function.arguments",
        "required",
    ),
    (
        {"messages": called(function={"arguments": "{}"})},
        "messages[1].tool_calls[0].function.name",
        "required",
    ),
    ({"messages": [*called(), CALLED]}, "messages[2].tool_calls[0].id", "earlier"),
    ({"messages": [ASK, CALLED, {"role": "tool", "content": "x"}]}, "messages[2].tool_call_id", "missing"),
    (
        {"messages": [ASK, CALLED, {"role": "tool", "content": "x", "tool_call_id": "c2"}]},
        "messages[2].tool_call_id",
        "no call",
    ),
    ({"messages": [{**ASK, "tool_call_id": "c1"}]}, "messages[0].tool_call_id", "no result"),
]


@pytest.mark.parametrize(("params", "path", "said"), BAD)
def test_what_is_wrong_is_told_with_its_place(params: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(RpcError) as refused:
        checked(params)
    assert (refused.value.kind, refused.value.data["path"]) == ("invalid_params", path)
    assert said in refused.value.data["problem"]


def test_there_are_more_than_fifty_of_them() -> None:
    assert len(BAD) > 50


@pytest.mark.parametrize(
    "params",
    [
        {"tools": []},
        {"tools": None, "tool_choice": "auto"},
        {"tools": [tool(description="x", strict=True, parameters={})], "tool_choice": "none"},
        {"tools": [tool(name="a.b-c_D1", parameters={"type": "object", "properties": {"x": True}})]},
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [tool(**{"return": {"type": "string"}})]},
        {"messages": [ASK, CALLED, {"role": "tool", "content": "x", "tool_call_id": "c1"}]},
        {"tools": [tool()], "response_format": {"type": "text"}},
    ],
)
def test_what_is_right_passes(params: dict[str, Any]) -> None:
    checked(params)
