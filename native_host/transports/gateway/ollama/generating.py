"""`/api/generate` and `/api/chat`: a line of JSON a piece, or one for all."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol import messages as wire
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.gateway.dialects import OLLAMA
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.ollama import mapping
from native_host.transports.gateway.ollama.shapes import (
    ChatRequest,
    Function,
    GenerateRequest,
    KeepAlive,
    Line,
    Logprob,
    Message,
    ToolCall,
    TopLogprob,
)
from native_host.transports.gateway.operations import Operation, add
from native_host.units import seconds_of

NDJSON = "application/x-ndjson"

CHAT_EXAMPLE = {
    "model": "tabagent-demo",
    "messages": [{"role": "user", "content": "What is a runtime pack?"}],
    "stream": False,
}
GENERATE_EXAMPLE = {"model": "tabagent-demo", "prompt": "What is a runtime pack?", "stream": False}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """Both of them."""

    async def chat(request: Request) -> Response:
        """Answer a conversation."""
        asked = await gateway.body(request, ChatRequest)
        if not asked.messages:
            message = Message(role="assistant", content="")
            return await _load(gateway, request, asked.model, asked.keep_alive, message=message)
        return await _answer(gateway, request, "chat", mapping.chat_params(asked), ChatLines)

    async def generate(request: Request) -> Response:
        """Continue or answer a prompt."""
        asked = await gateway.body(request, GenerateRequest)
        if not asked.prompt:
            return await _load(gateway, request, asked.model, asked.keep_alive, response="")
        if asked.raw:
            return await _answer(gateway, request, "generate", mapping.prompt_params(asked), TextLines)
        return await _answer(gateway, request, "chat", mapping.question_params(asked), TextLines)

    answered, streamed = _examples(lambda text: {"message": Message(role="assistant", content=text)})
    told = Operation(
        body=ChatRequest, answer=Line, answered=answered, streams={NDJSON: streamed}, example=CHAT_EXAMPLE
    )
    add(routes, "/api/chat", chat, told)
    answered, streamed = _examples(lambda text: {"response": text})
    told = Operation(
        body=GenerateRequest,
        answer=Line,
        answered=answered,
        streams={NDJSON: streamed},
        example=GENERATE_EXAMPLE,
    )
    add(routes, "/api/generate", generate, told)


def _examples(holding: Callable[[str], dict[str, Any]]) -> tuple[Line, str]:
    """An answer as one line, and as several."""
    begun: dict[str, Any] = {"model": "tabagent-demo", "created_at": "2026-11-21T12:00:00Z"}
    ended: dict[str, Any] = {
        "done": True,
        "done_reason": "stop",
        "total_duration": 60_000_000,
        "load_duration": 0,
        "prompt_eval_count": 16,
        "prompt_eval_duration": 10_000_000,
        "eval_count": 9,
        "eval_duration": 9_000_000,
    }
    words = ("A runtime pack", " is the folder with llama.cpp.")
    whole = Line(**begun, **ended, **holding("".join(words)))
    lines = [Line(**begun, done=False, **holding(text)) for text in words]
    return whole, b"".join(map(_encoded, [*lines, Line(**begun, **ended, **holding(""))])).decode()


async def _answer(
    gateway: Gateway,
    request: Request,
    method: str,
    params: wire.ChatParams | wire.GenerateParams,
    lines: type[_Lines],
) -> Response:
    call = gateway.begin(request, method, params)
    form = lines(params.model or "", call)
    if params.stream:
        return await gateway.answer_streaming(call, form)
    return json_answer(form.whole(await gateway.finish(call)))


async def _load(
    gateway: Gateway,
    request: Request,
    model: str,
    keep_alive: KeepAlive | None,
    **nothing: Any,  # noqa: ANN401
) -> Response:
    """A request that asks nothing loads its model, or unloads it where it need not be kept."""
    reason = "load"
    if keep_alive is not None and _unloads(keep_alive):
        reason = "unload"
        await gateway.call(request, "models.unload", wire.ModelsUnloadParams(model=model))
    else:
        params = wire.ModelsLoadParams(model=model, keep_alive=keep_alive)
        await gateway.call(request, "models.load", params)
    return json_answer(Line(model=model, created_at=now(), done=True, done_reason=reason, **nothing))


def _unloads(keep_alive: KeepAlive) -> bool:
    try:
        return seconds_of(keep_alive) == 0
    except ValueError:
        return False  # loading says what is wrong with it


class _Lines:
    """A streamed answer, or a whole one. `model` is the name that the client gave."""

    media_type = NDJSON

    def __init__(self, model: str, call: GatewayRequest) -> None:
        self._model = model
        self._call = call

    def piece(self, piece: Piece | Progress) -> bytes:
        """The next line; calls of tools wait until they are whole."""
        if isinstance(piece, Progress) or not (piece.text or piece.reasoning or piece.logprobs):
            return b""
        line = self._line(piece.text, piece.reasoning, None)
        line.logprobs = _logprobs(piece.logprobs)
        return _encoded(line)

    def end(self, result: wire.ChatResult | wire.GenerateResult) -> bytes:
        """The calls of tools, and the last line."""
        calls = _calls(result)
        data = _encoded(self._line("", "", calls)) if calls else b""
        return data + _encoded(self._finished(self._line("", "", None), result))

    def failed(self, error: RpcError) -> bytes:
        """A line with the error."""
        return _encoded(OLLAMA.body(error))

    def whole(self, result: wire.ChatResult | wire.GenerateResult) -> Line:
        """All of the answer as one line."""
        if isinstance(result, wire.ChatResult):
            text, reasoning = result.message.content, result.message.reasoning or ""
        else:
            text, reasoning = result.text or "", ""
        line = self._line(text, reasoning, _calls(result))
        line.logprobs = _logprobs(result.logprobs)
        return self._finished(line, result)

    def _line(self, text: str, reasoning: str, calls: list[ToolCall] | None) -> Line:
        raise NotImplementedError

    def _finished(self, line: Line, result: wire.ChatResult | wire.GenerateResult) -> Line:
        usage, timings = result.usage, result.timings
        line.done = True
        line.done_reason = "length" if result.finish_reason == "length" else "stop"
        line.total_duration = round((time.monotonic() - self._call.started) * 1e9)
        line.load_duration = round((timings.load_ms or 0.0) * 1e6)
        line.prompt_eval_count = usage.prompt_tokens
        computed = usage.prompt_tokens - usage.cached_tokens
        line.prompt_eval_duration = _duration(computed, timings.prefill_tokens_per_s)
        line.eval_count = usage.completion_tokens
        line.eval_duration = _duration(usage.completion_tokens, timings.decode_tokens_per_s)
        return line


class TextLines(_Lines):
    """`/api/generate`."""

    def _line(self, text: str, reasoning: str, calls: list[ToolCall] | None) -> Line:
        return Line(
            model=self._model, created_at=now(), response=text, thinking=reasoning or None, done=False
        )


class ChatLines(_Lines):
    """`/api/chat`."""

    def _line(self, text: str, reasoning: str, calls: list[ToolCall] | None) -> Line:
        message = Message(role="assistant", content=text, thinking=reasoning or None, tool_calls=calls)
        return Line(model=self._model, created_at=now(), message=message, done=False)


def now() -> str:
    """This moment, as Ollama writes it."""
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def _encoded(value: object) -> bytes:
    return encode_value(value) + b"\n"


def _calls(result: wire.ChatResult | wire.GenerateResult) -> list[ToolCall] | None:
    calls = result.message.tool_calls if isinstance(result, wire.ChatResult) else None
    return [_call(call) for call in calls] if calls else None


def _call(call: wire.ToolCall) -> ToolCall:
    arguments = call.function.arguments
    if isinstance(arguments, str):
        arguments = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    return ToolCall(function=Function(name=call.function.name, arguments=arguments), id=call.id)


def _logprobs(tokens: list[wire.TokenLogprob] | None) -> list[Logprob] | None:
    return None if tokens is None else [_logprob(token) for token in tokens]


def _logprob(token: wire.TokenLogprob) -> Logprob:
    top = [
        TopLogprob(token=each.text, logprob=each.logprob, bytes=list(each.text.encode()))
        for each in token.top
    ]
    return Logprob(token=token.text, logprob=token.logprob, bytes=list(token.text.encode()), top_logprobs=top)


def _duration(tokens: int, tokens_per_s: float | None) -> int:
    """Nanoseconds; 0 where nothing was measured."""
    return round(tokens / tokens_per_s * 1e9) if tokens_per_s else 0
