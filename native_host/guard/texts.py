"""The texts that a request brings for a model to read: what limits on length and content rules look at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from native_host.protocol.messages import (
    ChatMessage,
    ChatParams,
    EmbedParams,
    GenerateParams,
    Params,
    RerankParams,
)


def texts_of(params: Params) -> Iterator[str]:
    """Each text, as a model gets it; prompts that are token ids are not among them."""
    if isinstance(params, GenerateParams):
        yield from params.prompts or ()
        if isinstance(params.prompt, str):
            yield params.prompt
    elif isinstance(params, ChatParams):
        for message in params.messages:
            yield from _message(message)
        for given in (params.tools, params.documents, params.chat_template_kwargs):
            if given:
                yield _json(given)
        yield from (params.prompt_variables or {}).values()
    elif isinstance(params, EmbedParams):
        yield from [params.input] if isinstance(params.input, str) else params.input
    elif isinstance(params, RerankParams):
        yield params.query
        yield from params.documents


def tokens_of(params: Params) -> list[int]:
    """A prompt that is token ids; empty where there is none."""
    prompt = params.prompt if isinstance(params, GenerateParams) else None
    return prompt if isinstance(prompt, list) else []


def _message(message: ChatMessage) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
    elif message.content:
        texts = [part.get("text") for part in message.content]
        yield "".join(text for text in texts if isinstance(text, str))
    yield from (text for text in (message.name, message.reasoning, message.tool_call_id) if text)
    for call in message.tool_calls or ():
        yield from (text for text in (call.id, call.function.name) if text)
        arguments = call.function.arguments
        yield arguments if isinstance(arguments, str) else _json(arguments)


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Other characters than ASCII are themselves, so that rules find them."""
    return msgspec.json.encode(value).decode()
