"""`/v1/completions`: prompts as they are, without a chat template."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol.errors import RpcError
from native_host.protocol.messages import GeneratedText, GenerateResult
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.gateway.dialects import OPENAI
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.openai import mapping
from native_host.transports.gateway.openai.shapes import (
    Completion,
    CompletionChoice,
    CompletionRequest,
    Usage,
)
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.streaming import DONE, SSE, events, sse

EXAMPLE = {"model": "tabagent-demo", "prompt": "A worker is", "max_tokens": 16}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """`/v1/completions`."""

    async def complete(request: Request) -> Response:
        """Continue a prompt, or several."""
        asked = await gateway.body(request, CompletionRequest)
        params = mapping.generate_params(asked)
        if not params.stream:
            result: GenerateResult = await gateway.call(request, "generate", params, lenient=True)
            choices = [_choice(index, answer) for index, answer in enumerate(_answers(result))]
            return json_answer(
                Completion(
                    id=mapping.answer_id("cmpl"),
                    created=int(time.time()),
                    model=result.model,
                    choices=choices,
                    usage=mapping.usage(result.usage),
                )
            )
        call = gateway.begin(request, "generate", params, lenient=True)
        return await gateway.answer_streaming(call, CompletionStream(call, asked))

    operation = Operation(
        body=CompletionRequest,
        answer=Completion,
        answered=_ANSWERED,
        streams={SSE: _STREAMED},
        example=EXAMPLE,
    )
    add(routes, ("/v1/completions", "/completions"), complete, operation)


_HEAD: dict[str, Any] = {"id": "cmpl-1", "created": 1795262400, "model": "tabagent-demo"}
_ANSWERED = Completion(
    choices=[CompletionChoice(index=0, text=" a process.", finish_reason="stop")],
    usage=Usage(
        prompt_tokens=3, completion_tokens=4, total_tokens=7, prompt_tokens_details={"cached_tokens": 0}
    ),
    **_HEAD,
)
_STREAMED = events(
    Completion(choices=[CompletionChoice(index=0, text=" a process.")], **_HEAD),
    Completion(choices=[CompletionChoice(index=0, text="", finish_reason="stop")], **_HEAD),
    then=DONE,
)


class CompletionStream:
    """The events of a streamed answer; each tells which prompt it is for."""

    media_type = SSE

    def __init__(self, call: GatewayRequest, asked: CompletionRequest) -> None:
        self._call = call
        self._asked_model = asked.model or ""
        self._with_usage = asked.stream_options is not None and asked.stream_options.include_usage
        self._id = mapping.answer_id("cmpl")
        self._created = int(time.time())
        self._lengths: dict[int, int] = {}

    def piece(self, piece: Piece | Progress) -> bytes:
        """The next event."""
        if isinstance(piece, Progress):
            return b""
        index = piece.index or 0
        offset = self._lengths.get(index, 0)
        self._lengths[index] = offset + len(piece.text)
        logprobs = mapping.completion_logprobs(piece.logprobs, offset)
        return self._event([CompletionChoice(index=index, text=piece.text, logprobs=logprobs)])

    def end(self, result: GenerateResult) -> bytes:
        """Why each ended, what they used, and the mark that it is over."""
        choices = [
            CompletionChoice(index=index, text="", finish_reason=answer.finish_reason)
            for index, answer in enumerate(_answers(result))
        ]
        data = b"".join([self._event([choice]) for choice in choices])
        if self._with_usage:
            data += self._event([], mapping.usage(result.usage))
        return data + DONE

    def failed(self, error: RpcError) -> bytes:
        """An event with the error."""
        return sse(OPENAI.body(error))

    def _event(self, choices: list[CompletionChoice], usage: Usage | None = None) -> bytes:
        model = self._call.partial.model or self._asked_model
        return sse(Completion(id=self._id, created=self._created, model=model, choices=choices, usage=usage))


def _answers(result: GenerateResult) -> list[GeneratedText]:
    """One for each prompt, however they were given."""
    if result.texts is not None:
        return result.texts
    return [
        GeneratedText(
            text=result.text or "",
            finish_reason=result.finish_reason or "stop",
            usage=result.usage,
            logprobs=result.logprobs,
        )
    ]


def _choice(index: int, answer: GeneratedText) -> CompletionChoice:
    return CompletionChoice(
        index=index,
        text=answer.text,
        logprobs=mapping.completion_logprobs(answer.logprobs),
        finish_reason=answer.finish_reason,
    )
