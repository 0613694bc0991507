"""From OpenAI's shapes to the host's and back."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.transports.gateway.openai import shapes

MAX_SEED = 2**63
_MOST_DIGITS = 10
"""Of a token id: a number of thousands of digits is an error to convert."""


def inference(asked: shapes.Inference, logprobs: int | None, max_tokens: int | None) -> dict[str, Any]:
    """The params that generating has in common. Raises unsupported and invalid_params."""
    if asked.n not in (None, 1):
        raise errors.unsupported("n other than 1: ask several times, requests run side by side")
    given: dict[str, Any] = {
        "model": asked.model,
        "max_tokens": max_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p or None,
        "top_k": asked.top_k,
        "min_p": asked.min_p,
        "repeat_penalty": asked.repeat_penalty,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "logit_bias": _bias(asked.logit_bias),
        "seed": _seed(asked.seed),
        "stop": asked.stop,
        "stream": bool(asked.stream),
        "logprobs": logprobs,
        "response_format": _form(asked.response_format),
        "adapters": asked.adapters,
        "timeout_s": asked.timeout_s,
        "priority": asked.priority,
        "ignore_eos": asked.ignore_eos,
        "deterministic": asked.deterministic,
        "response_cache": asked.response_cache,
    }
    return {name: value for name, value in given.items() if value is not None}


def chat_params(asked: shapes.ChatRequest) -> wire.ChatParams:
    """The params of `chat`. Raises unsupported and invalid_params."""
    if asked.top_logprobs and not asked.logprobs:
        raise errors.invalid_params("top_logprobs", "needs logprobs: true")
    logprobs = (asked.top_logprobs or 0) if asked.logprobs else None
    max_tokens = asked.max_completion_tokens or asked.max_tokens
    return wire.ChatParams(
        messages=[_message(message) for message in asked.messages],
        tools=asked.tools,
        tool_choice=asked.tool_choice,
        parallel_tool_calls=asked.parallel_tool_calls,
        chat_template_kwargs=asked.chat_template_kwargs,
        session=asked.session,
        **inference(asked, logprobs, max_tokens),
    )


def generate_params(asked: shapes.CompletionRequest) -> wire.GenerateParams:
    """The params of `generate`. Raises unsupported and invalid_params."""
    if asked.echo:
        raise errors.unsupported("echo")
    if asked.suffix:
        raise errors.unsupported("suffix")
    if asked.best_of not in (None, 1):
        raise errors.unsupported("best_of other than 1")
    return wire.GenerateParams(**_prompts(asked.prompt), **inference(asked, asked.logprobs, asked.max_tokens))


def _prompts(asked: str | list[str | int | list[int]]) -> dict[str, Any]:
    """`prompt` for one, `prompts` for several."""
    if isinstance(asked, str):
        return {"prompt": asked}
    if len(asked) == 1 and isinstance(asked[0], str | list):
        return {"prompt": asked[0]}
    texts = [part for part in asked if isinstance(part, str)]
    tokens = [part for part in asked if isinstance(part, int)]
    if asked and len(texts) == len(asked):
        return {"prompts": texts}
    if asked and len(tokens) == len(asked):
        return {"prompt": tokens}
    raise errors.invalid_params("prompt", "give a text, a list of texts, or the token ids of one prompt")


def completion_logprobs(
    tokens: list[wire.TokenLogprob] | None, offset: int = 0
) -> shapes.CompletionLogprobs | None:
    """The tokens of an answer, or of a piece of it that begins at `offset`."""
    if tokens is None:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return shapes.CompletionLogprobs(
        tokens=[token.text for token in tokens],
        token_logprobs=[token.logprob for token in tokens],
        top_logprobs=[{each.text: each.logprob for each in token.top} for token in tokens],
        text_offset=offsets,
    )


def answer_id(prefix: str) -> str:
    """For one answer."""
    return f"{prefix}-{secrets.token_hex(12)}"


def usage(found: wire.Usage) -> shapes.Usage:
    """Tokens."""
    return shapes.Usage(
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens,
        total_tokens=found.prompt_tokens + found.completion_tokens,
        prompt_tokens_details={"cached_tokens": found.cached_tokens},
    )


def logprobs_of(tokens: list[wire.TokenLogprob] | None) -> shapes.Logprobs | None:
    """The tokens of an answer, or of a piece of it."""
    return None if tokens is None else shapes.Logprobs(content=[_token(token) for token in tokens])


def _token(token: wire.TokenLogprob) -> shapes.TokenLogprob:
    top = [
        shapes.TopLogprob(token=each.text, bytes=list(each.text.encode()), logprob=each.logprob)
        for each in token.top
    ]
    text = token.text
    return shapes.TokenLogprob(token=text, bytes=list(text.encode()), logprob=token.logprob, top_logprobs=top)


def tool_calls(calls: list[wire.ToolCall] | None) -> list[shapes.ToolCall] | None:
    """The calls that a model asked for, their arguments as JSON text."""
    return [_call(call) for call in calls] if calls else None


def _call(call: wire.ToolCall) -> shapes.ToolCall:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    function = shapes.FunctionCall(name=call.function.name, arguments=text)
    return shapes.ToolCall(id=call.id, type=call.type, function=function)


def _message(message: shapes.Message) -> wire.ChatMessage:
    calls = [
        wire.ToolCall(
            id=call.id,
            type=call.type,
            function=wire.ToolFunction(name=call.function.name, arguments=call.function.arguments),
        )
        for call in message.tool_calls or ()
    ]
    return wire.ChatMessage(
        role="system" if message.role == "developer" else message.role,
        content=message.content,
        reasoning=message.reasoning_content,
        name=message.name,
        tool_calls=calls or None,
        tool_call_id=message.tool_call_id,
    )


def _bias(asked: dict[str, float] | None) -> dict[int, float] | None:
    """OpenAI's keys are token ids as text."""
    found: dict[int, float] = {}
    for token, bias in (asked or {}).items():
        if len(token) > _MOST_DIGITS or not token.isascii() or not token.isdigit():
            raise errors.invalid_params(f"logit_bias.{token[:_MOST_DIGITS]}", "must be a token id")
        found[int(token)] = bias
    return found or None


def _seed(asked: int | None) -> int | None:
    """-1 stands for a random one, as in llama.cpp's server."""
    return None if asked in (None, -1) else asked % MAX_SEED


def _form(asked: shapes.ResponseFormat | None) -> wire.ResponseFormat | None:
    if asked is None or asked.type == "text":
        return None
    named = asked.json_schema.schema if asked.json_schema is not None else None
    schema = named if named is not None else asked.schema
    if asked.type == "json_object" and schema is None:
        return wire.ResponseFormat(type="json_object")
    if schema is None:
        raise errors.invalid_params("response_format.json_schema.schema", "is missing")
    return wire.ResponseFormat(type="json_schema", json_schema=schema)
