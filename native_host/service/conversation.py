"""Makes the plain conversation that a chat template takes of the messages that a peer sends."""

from __future__ import annotations

from typing import Any

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.workers.messages import ChatMessage


def conversation(messages: list[wire.ChatMessage], system_prompt: str | None = None) -> list[ChatMessage]:
    """The messages with their content as plain text.

    A model's own system prompt goes first where the peer sends none. Raises invalid_params and unsupported.
    """
    if not messages:
        raise errors.invalid_params("messages", "is empty")
    plain = [_plain(message, f"messages[{index}]") for index, message in enumerate(messages)]
    if system_prompt is not None and all(message.role != "system" for message in plain):
        plain.insert(0, ChatMessage("system", system_prompt))
    return plain


def refuse_tools(tools: list[dict[str, Any]] | None, choice: str | dict[str, Any] | None = None) -> None:
    """Refuse tools: no model can call them yet. Raises unsupported."""
    if tools or choice not in (None, "none", "auto"):
        raise errors.unsupported("tools")


def _plain(message: wire.ChatMessage, path: str) -> ChatMessage:
    if message.role == "tool" or message.tool_calls or message.tool_call_id is not None:
        raise errors.unsupported("tools")
    if message.content is None:
        raise errors.invalid_params(f"{path}.content", "is missing")
    if isinstance(message.content, str):
        return ChatMessage(message.role, message.content)
    texts = [_text(part, f"{path}.content[{index}]") for index, part in enumerate(message.content)]
    return ChatMessage(message.role, "".join(texts))


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
