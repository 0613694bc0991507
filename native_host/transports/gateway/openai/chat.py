"""`/v1/chat/completions`."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ChatResult
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.gateway.dialects import OPENAI
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.openai import mapping
from native_host.transports.gateway.openai.shapes import (
    AnswerMessage,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    Choice,
    ChunkChoice,
    Delta,
    Usage,
)
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.streaming import DONE, SSE, events, sse

EXAMPLE = {
    "model": "tabagent-demo",
    "messages": [{"role": "user", "content": "What is a worker?"}],
    "max_tokens": 32,
}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """With and without `/v1`."""

    async def chat(request: Request) -> Response:
        """Answer a conversation."""
        asked = await gateway.body(request, ChatRequest)
        params = mapping.chat_params(asked)
        if not params.stream:
            return json_answer(_completion(await gateway.call(request, "chat", params, lenient=True)))
        call = gateway.begin(request, "chat", params, lenient=True)
        return await gateway.answer_streaming(call, ChatStream(call, asked))

    operation = Operation(
        body=ChatRequest, answer=ChatCompletion, answered=_ANSWERED, streams={SSE: _STREAMED}, example=EXAMPLE
    )
    add(routes, ("/v1/chat/completions", "/chat/completions"), chat, operation)


_CHUNK: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1795262400,
    "model": "tabagent-demo",
}
_ANSWERED = ChatCompletion(
    id="chatcmpl-1",
    created=1795262400,
    model="tabagent-demo",
    choices=[Choice(message=AnswerMessage(content="A worker is a process."), finish_reason="stop")],
    usage=Usage(
        prompt_tokens=13,
        completion_tokens=6,
        total_tokens=19,
        prompt_tokens_details={"cached_tokens": 0},
    ),
    seed=7,
)
_STREAMED = events(
    ChatChunk(choices=[ChunkChoice(delta=Delta(role="assistant", content=""))], **_CHUNK),
    ChatChunk(choices=[ChunkChoice(delta=Delta(content="A worker is a process."))], **_CHUNK),
    ChatChunk(choices=[ChunkChoice(delta=Delta(), finish_reason="stop")], **_CHUNK),
    then=DONE,
)


class ChatStream:
    """The events of a streamed answer."""

    media_type = SSE

    def __init__(self, call: GatewayRequest, asked: ChatRequest) -> None:
        self._call = call
        self._asked_model = asked.model or ""
        self._with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        self._id = mapping.answer_id("chatcmpl")
        self._created = int(time.time())
        self._begun = False

    def piece(self, piece: Piece | Progress) -> bytes:
        """The next event; the first is preceded by the one that says whose message it is."""
        if isinstance(piece, Progress):
            return b""
        delta = Delta(
            content=piece.text or None,
            reasoning_content=piece.reasoning or None,
            tool_calls=piece.tool_calls,
        )
        choice = ChunkChoice(delta=delta, logprobs=mapping.logprobs_of(piece.logprobs))
        return self._head() + self._event([choice])

    def end(self, result: ChatResult) -> bytes:
        """Why it ended, what it used, and the mark that it has."""
        data = self._head() + self._event([ChunkChoice(delta=Delta(), finish_reason=result.finish_reason)])
        if self._with_usage:
            data += self._event([], result)
        return data + DONE

    def failed(self, error: RpcError) -> bytes:
        """An event with the error."""
        return sse(OPENAI.body(error))

    def _head(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        return self._event([ChunkChoice(delta=Delta(role="assistant", content=""))])

    def _event(self, choices: list[ChunkChoice], result: ChatResult | None = None) -> bytes:
        return sse(
            ChatChunk(
                id=self._id,
                object="chat.completion.chunk",
                created=self._created,
                model=self._call.partial.model or self._asked_model,
                choices=choices,
                usage=mapping.usage(result.usage) if result is not None else None,
            )
        )


def _completion(result: ChatResult) -> ChatCompletion:
    calls = mapping.tool_calls(result.message.tool_calls)
    choice = Choice(
        message=AnswerMessage(
            content=result.message.content or None if calls else result.message.content,
            reasoning_content=result.message.reasoning,
            tool_calls=calls,
        ),
        logprobs=mapping.logprobs_of(result.logprobs),
        finish_reason=result.finish_reason,
    )
    return ChatCompletion(
        id=mapping.answer_id("chatcmpl"),
        created=int(time.time()),
        model=result.model,
        choices=[choice],
        usage=mapping.usage(result.usage),
        seed=result.seed,
    )
