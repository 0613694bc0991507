"""From Ollama's requests to the host's params."""

from __future__ import annotations

from typing import Any

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.transports.gateway.ollama import shapes

UNLIMITED = 2**31 - 1
"""Tokens of an answer that only the model's context ends."""


def chat_params(asked: shapes.ChatRequest) -> wire.ChatParams:
    """Raises unsupported and invalid_params."""
    for index, message in enumerate(asked.messages):
        _refuse_images(message.images, f"messages[{index}].images")
    return wire.ChatParams(messages=_messages(asked.messages), tools=asked.tools, **_chat(asked))


def question_params(asked: shapes.GenerateRequest) -> wire.ChatParams:
    """A prompt as the only message of a conversation. Raises unsupported and invalid_params."""
    _refuse_unheeded(asked)
    messages = [wire.ChatMessage(role="user", content=asked.prompt)]
    if asked.system:
        messages.insert(0, wire.ChatMessage(role="system", content=asked.system))
    return wire.ChatParams(messages=messages, **_chat(asked))


def prompt_params(asked: shapes.GenerateRequest) -> wire.GenerateParams:
    """A prompt as it stands. Raises unsupported and invalid_params."""
    _refuse_unheeded(asked)
    if asked.system:
        raise errors.invalid_params("system", "does not go with raw: a raw prompt has it in it")
    return wire.GenerateParams(prompt=asked.prompt, **_inference(asked))


def _chat(asked: shapes.Inference) -> dict[str, Any]:
    if asked.think is None:
        return _inference(asked)
    switches: dict[str, Any] = {"enable_thinking": bool(asked.think)}
    if isinstance(asked.think, str):
        switches["reasoning_effort"] = asked.think
    return {**_inference(asked), "chat_template_kwargs": switches}


def _inference(asked: shapes.Inference) -> dict[str, Any]:
    options = asked.options or shapes.Options()
    _refuse_samplers(options)
    given: dict[str, Any] = {
        "model": asked.model,
        "max_tokens": _max_tokens(options.num_predict),
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": options.top_k,
        "min_p": options.min_p,
        "repeat_penalty": options.repeat_penalty,
        "presence_penalty": options.presence_penalty,
        "frequency_penalty": options.frequency_penalty,
        "seed": None if options.seed is None or options.seed < 0 else options.seed,
        "stop": options.stop or None,
        "stream": asked.stream is not False,
        "logprobs": (asked.top_logprobs or 0) if asked.logprobs else None,
        "response_format": _form(asked.format),
        "keep_alive": asked.keep_alive,
    }
    return {name: value for name, value in given.items() if value is not None}


def _max_tokens(num_predict: int | None) -> int:
    if num_predict is None or num_predict < 0:
        return UNLIMITED
    if num_predict == 0:
        raise errors.invalid_params("options.num_predict", "must be above 0, or below for no limit")
    return num_predict


def _form(asked: str | dict[str, Any] | None) -> wire.ResponseFormat | None:
    if not asked:
        return None
    if isinstance(asked, dict):
        return wire.ResponseFormat(type="json_schema", json_schema=asked)
    if asked != "json":
        raise errors.invalid_params("format", f'must be "json" or a JSON schema, not {asked!r}')
    return wire.ResponseFormat(type="json_object")


def _messages(said: list[shapes.Message]) -> list[wire.ChatMessage]:
    """With an id for each call of a tool, and for each result that of its call: Ollama tells them apart by
    name and order.
    """
    open_calls: list[tuple[str, str]] = []
    messages = []
    for index, message in enumerate(said):
        calls = _calls(message.tool_calls or [], index)
        open_calls += [(str(call.id), call.function.name) for call in calls]
        messages.append(
            wire.ChatMessage(
                role=message.role,
                content=message.content,
                reasoning=message.thinking or None,
                tool_calls=calls or None,
                tool_call_id=_answered(message, open_calls) if message.role == "tool" else None,
            )
        )
    return messages


def _calls(calls: list[shapes.ToolCall], index: int) -> list[wire.ToolCall]:
    return [
        wire.ToolCall(
            id=call.id or f"call_{index}_{number}",
            function=wire.ToolFunction(name=call.function.name, arguments=call.function.arguments),
        )
        for number, call in enumerate(calls)
    ]


def _answered(message: shapes.Message, open_calls: list[tuple[str, str]]) -> str | None:
    """The id of the call whose result this is: the first one without a result that it can be."""
    for call in open_calls:
        wanted = (message.tool_call_id, message.tool_name)
        if wanted[0] in (None, call[0]) and wanted[1] in (None, call[1]):
            open_calls.remove(call)
            return call[0]
    return message.tool_call_id


def _refuse_samplers(options: shapes.Options) -> None:
    """Refuse what would not be heeded, unless it asks for nothing."""
    asked = {
        "typical_p": options.typical_p not in (None, 1.0),
        "tfs_z": options.tfs_z not in (None, 1.0),
        "mirostat": options.mirostat not in (None, 0),
    }
    for name, wanted in asked.items():
        if wanted:
            raise errors.unsupported(f"options.{name}")


def _refuse_unheeded(asked: shapes.GenerateRequest) -> None:
    _refuse_images(asked.images, "images")
    given = {"suffix": asked.suffix, "template": asked.template, "context": asked.context}
    for name, value in given.items():
        if value:
            raise errors.unsupported(f"{name} (chats keep a conversation: /api/chat)")


def _refuse_images(images: list[str] | None, path: str) -> None:
    if images:
        raise errors.unsupported(f"images ({path})")
