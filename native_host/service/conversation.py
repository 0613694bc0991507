"""Makes the plain conversation that a chat template takes of the messages that a peer sends."""

from __future__ import annotations

from typing import Any

import msgspec

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.workers.messages import ChatMessage


def conversation(messages: list[wire.ChatMessage], system_prompt: str | None = None) -> list[ChatMessage]:
    """The messages with their content as plain text; calls of tools and their results as chat templates read
    them.

    A model's own system prompt goes first where the peer sends none. Raises invalid_params and unsupported.
    """
    if not messages:
        raise errors.invalid_params("messages", "is empty")
    plain = [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]
    if system_prompt is not None and all(message.role != "system" for message in plain):
        plain.insert(0, ChatMessage("system", system_prompt))
    return plain


def is_whole(call: wire.ToolCall) -> bool:
    """Whether a call's arguments are an object: those of an answer that was cut may be none."""
    return _arguments(call) is not None


def _plain(message: wire.ChatMessage, path: str) -> ChatMessage:
    calls = [_call(call) for call in message.tool_calls or ()]
    return ChatMessage(
        message.role,
        _content(message, f"{path}.content"),
        reasoning=message.reasoning,
        name=message.name,
        tool_calls=calls or None,
        tool_call_id=message.tool_call_id,
    )


def _content(message: wire.ChatMessage, path: str) -> str:
    if message.content is None:
        if message.tool_calls:
            return ""
        raise errors.invalid_params(path, "is missing")
    if isinstance(message.content, str):
        return message.content
    return "".join(_text(part, f"{path}[{index}]") for index, part in enumerate(message.content))


def _call(call: wire.ToolCall) -> dict[str, Any]:
    """As templates want it: arguments that came as JSON text are the object that this stands for."""
    arguments = _arguments(call)
    plain: dict[str, Any] = {
        "type": call.type,
        "function": {
            "name": call.function.name,
            "arguments": call.function.arguments if arguments is None else arguments,
        },
    }
    return plain if call.id is None else {"id": call.id, **plain}


def _arguments(call: wire.ToolCall) -> dict[str, Any] | None:
    """The object that a call's arguments are or stand for; `None` where that is none."""
    arguments = call.function.arguments
    if isinstance(arguments, dict):
        return arguments
    try:
        read = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _text(part: dict[str, Any], path: str) -> str:
    kind, text = part.get("type"), part.get("text")
    if not isinstance(kind, str):
        raise errors.invalid_params(f"{path}.type", "must be a string")
    if kind != "text":
        raise errors.unsupported(f"content parts of type {kind}")
    for name in part.keys() - {"type", "text"}:
        raise errors.invalid_params(f"{path}.{name}", "unknown member")
    if not isinstance(text, str):
        raise errors.invalid_params(f"{path}.text", "must be a string")
    return text
