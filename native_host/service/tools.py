"""What a chat says about tools: checked here, so that a complaint names its place in the request."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from native_host.protocol import errors
from native_host.protocol.messages import ChatMessage, ChatParams, FunctionDescription, NamedTool, Tool

MAX_TOOLS = 128
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_OWN_PARAMETERS = frozenset(("messages", "tools", "documents", "add_generation_prompt"))


class Offer(msgspec.Struct, frozen=True):
    """Tools as templates read them, and which of them are to be called."""

    tools: list[dict[str, Any]] | None
    choice: str | dict[str, Any] | None


def offer(params: ChatParams) -> Offer:
    """The tools of a chat. Raises invalid_params."""
    tools = params.tools or []
    _check_tools(tools)
    _check_choice(tools, params.tool_choice)
    asks_for_form = params.response_format is not None and params.response_format.type != "text"
    if tools and params.tool_choice != "none" and asks_for_form:
        raise errors.invalid_params(
            "response_format", "does not go with tools: an answer calls them or is of a form"
        )
    choice = params.tool_choice
    return Offer(
        tools=[_plain(tool) for tool in tools] or None,
        choice=msgspec.to_builtins(choice) if isinstance(choice, NamedTool) else choice,
    )


def check_calls(messages: list[ChatMessage]) -> None:
    """Refuse calls and results where they make no sense. Raises invalid_params."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if message.tool_calls and message.role != "assistant":
            raise errors.invalid_params(f"{path}.tool_calls", f"a {message.role} message calls no tools")
        for number, call in enumerate(message.tool_calls or ()):
            place = f"{path}.tool_calls[{number}]"
            if call.type != "function":
                raise errors.invalid_params(f"{place}.type", f'must be "function", not {call.type!r}')
            if not call.id:
                raise errors.invalid_params(f"{place}.id", "is missing")
            if call.id in called:
                raise errors.invalid_params(f"{place}.id", "is that of an earlier call too")
            called.add(call.id)
        if message.tool_call_id is not None and message.role != "tool":
            raise errors.invalid_params(f"{path}.tool_call_id", f"a {message.role} message is no result")
        if message.role == "tool" and message.tool_call_id is None:
            raise errors.invalid_params(f"{path}.tool_call_id", "is missing: of which call is it the result?")
        if message.role == "tool" and message.tool_call_id not in called:
            raise errors.invalid_params(f"{path}.tool_call_id", "no call before it has this id")


def switches(given: dict[str, Any] | None) -> dict[str, Any]:
    """The switches of a template by their names. Raises invalid_params for what is a parameter of its own."""
    for name in sorted(_OWN_PARAMETERS & (given or {}).keys()):
        raise errors.invalid_params(f"chat_template_kwargs.{name}", "is a parameter of its own")
    return given or {}


def _check_tools(tools: list[Tool]) -> None:
    if len(tools) > MAX_TOOLS:
        raise errors.invalid_params("tools", f"at most {MAX_TOOLS} tools, not {len(tools)}")
    known: dict[str, int] = {}
    for index, tool in enumerate(tools):
        path, name = f"tools[{index}].function", tool.function.name
        if not _NAME.fullmatch(name):
            raise errors.invalid_params(
                f"{path}.name", "must be 1 to 64 letters, digits, underscores, dots and dashes"
            )
        if name in known:
            raise errors.invalid_params(f"{path}.name", f"is that of tools[{known[name]}] too")
        known[name] = index
        _check_parameters(tool.function, f"{path}.parameters")


def _check_parameters(function: FunctionDescription, path: str) -> None:
    schema = function.parameters or {}
    if schema.get("type", "object") != "object":
        raise errors.invalid_params(f"{path}.type", 'must be "object": arguments have names')
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise errors.invalid_params(f"{path}.properties", "must be an object")
    for name, each in properties.items():
        if not isinstance(each, dict | bool):
            raise errors.invalid_params(
                f"{path}.properties.{name}", "must be a schema: an object or a boolean"
            )
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise errors.invalid_params(f"{path}.required", "must be a list of names")


def _check_choice(tools: list[Tool], choice: str | NamedTool | None) -> None:
    if choice == "required" and not tools:
        raise errors.invalid_params("tool_choice", "is required, but there are no tools")
    if isinstance(choice, NamedTool) and all(tool.function.name != choice.function.name for tool in tools):
        raise errors.invalid_params(
            "tool_choice.function.name", f"{choice.function.name!r} is none of the tools"
        )


def _plain(tool: Tool) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(tool)
    return {"type": tool.type, **plain}
