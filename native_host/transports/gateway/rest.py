"""The host's own HTTP API: `/api/v1/{generate,chat,models,models/load,models/unload,metrics}`, and the
small one beside it, `/generate`. Params are those of the JSON-RPC methods; what those do not know is refused
by name.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.streaming import SSE, StreamForm, TextStream, events, sse

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


class ChatRequest(wire.InferenceParams, kw_only=True):
    """`/api/v1/chat`: a conversation in `messages`, or its only message, the user's, in `prompt`."""

    messages: list[wire.ChatMessage] | None = None
    prompt: str | None = None
    tools: list[wire.Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | wire.NamedTool | None = None


class Answer(Struct, kw_only=True, omit_defaults=True):
    """What a model said. `tokens_used` counts prompt and answer, `processing_time` is in seconds."""

    response: str
    model: str
    tokens_used: int
    processing_time: float
    timestamp: str
    finish_reason: str
    logprobs: list[wire.TokenLogprob] | None = None
    tool_calls: list[wire.ToolCall] | None = None


class BatchAnswer(Struct, kw_only=True):
    """What a model said to several prompts, in their order."""

    responses: list[str]
    finish_reasons: list[str]
    model: str
    tokens_used: int
    processing_time: float
    timestamp: str


class AnswerPart(Struct, kw_only=True, omit_defaults=True):
    """One event of a stream; `index` is the prompt's, where there are several."""

    response: str
    index: int | None = None
    logprobs: list[wire.TokenLogprob] | None = None


class StreamEnd(Struct, kw_only=True, omit_defaults=True):
    """The last event of a stream: the figures of the whole answer."""

    done: bool
    response: str
    model: str
    tokens_used: int
    processing_time: float
    timestamp: str
    finish_reason: str | None = None
    tool_calls: list[wire.ToolCall] | None = None


class ModelsAnswer(Struct, kw_only=True):
    """All models of the registry."""

    models: list[wire.ModelListing]


class Unloaded(Struct, kw_only=True):
    """A model that gave its memory back."""

    model: str
    state: str = "available"


class BatchRequest(wire.Params):
    """`/generate`: one prompt or several."""

    prompts: str | list[str]
    max_tokens: wire.Positive = 128
    temperature: Annotated[float, Meta(ge=0, le=100)] = 1.0
    model: str | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None


class BatchResults(Struct, kw_only=True):
    """The texts, in the order of the prompts."""

    results: list[str]


def router(gateway: Gateway) -> APIRouter:
    """The routes."""
    routes = gateway.router(OWN)

    async def generate(request: Request) -> Response:
        """Continue a prompt, or several."""
        params = await gateway.body(request, wire.GenerateParams)
        return await _answer(gateway, request, "generate", params)

    async def chat(request: Request) -> Response:
        """Answer a conversation."""
        asked = await gateway.body(request, ChatRequest)
        return await _answer(gateway, request, "chat", _chat_params(asked))

    async def models(request: Request) -> Response:
        """List the models and their state."""
        found = await gateway.call(request, "models.list", wire.NoParams())
        return json_answer(ModelsAnswer(models=found))

    async def load(request: Request) -> Response:
        """Load a model; with `Accept: text/event-stream`, say how far that has come."""
        params = await gateway.body(request, wire.ModelsLoadParams)
        if SSE in request.headers.get("accept", ""):
            call = gateway.begin(request, "models.load", params, with_progress=True)
            return await gateway.answer_streaming(call, _LoadStream())
        return json_answer(await gateway.call(request, "models.load", params))

    async def unload(request: Request) -> Response:
        """Give a model's memory back."""
        params = await gateway.body(request, wire.ModelsUnloadParams)
        await gateway.call(request, "models.unload", params)
        return json_answer(Unloaded(model=params.model))

    async def generate_batch(request: Request) -> Response:
        """Continue prompts, and answer with their texts alone."""
        asked = await gateway.body(request, BatchRequest)
        prompts = [asked.prompts] if isinstance(asked.prompts, str) else asked.prompts
        params = wire.GenerateParams(
            prompts=prompts,
            max_tokens=asked.max_tokens,
            temperature=asked.temperature,
            model=asked.model,
            seed=asked.seed,
        )
        result: wire.GenerateResult = await gateway.call(request, "generate", params)
        return json_answer(BatchResults(results=[each.text for each in result.texts or []]))

    async def metrics(request: Request) -> Response:
        """What is counted, for Prometheus."""
        text: str = await gateway.call(request, "metrics", wire.NoParams())
        return Response(text, media_type=PROMETHEUS)

    counted = Operation(answer=str, answered=_METRICS)
    add(routes, ("/api/v1/metrics", "/metrics"), metrics, counted, "GET")
    prompt = {"prompt": "A worker is", "max_tokens": 16, "temperature": 0.7, "top_p": 0.9, "stream": False}
    generation = Operation(
        body=wire.GenerateParams,
        answer=(Answer, BatchAnswer),
        answered=Answer(response=_WORDS, finish_reason="stop", **_FIGURES),
        streams=_STREAMS,
        example={"model": "tabagent-demo", **prompt},
    )
    add(routes, "/api/v1/generate", generate, generation)
    conversation = Operation(
        body=ChatRequest,
        answer=Answer,
        answered=Answer(response=f"A worker is{_WORDS}", finish_reason="stop", **_FIGURES),
        streams=_STREAMS,
        example={"prompt": "What is a worker?", "max_tokens": 32},
    )
    add(routes, "/api/v1/chat", chat, conversation)
    listing = Operation(answer=ModelsAnswer, answered=ModelsAnswer(models=[_LISTED]))
    add(routes, "/api/v1/models", models, listing, "GET")
    loading = Operation(
        body=wire.ModelsLoadParams,
        answer=wire.ModelsLoadResult,
        answered=_LOADED,
        streams={SSE: events({"stage": "load", "fraction": 0.5, "message": "tabagent-demo"}, _LOADED)},
        example={"model": "tabagent-demo"},
    )
    add(routes, "/api/v1/models/load", load, loading)
    unloading = Operation(
        body=wire.ModelsUnloadParams,
        answer=Unloaded,
        answered=Unloaded(model="tabagent-demo"),
        example={"model": "tabagent-demo"},
    )
    add(routes, "/api/v1/models/unload", unload, unloading)
    batch = Operation(
        body=BatchRequest,
        answer=BatchResults,
        answered=BatchResults(results=[_WORDS, " a file that holds what a worker needs."]),
        example={"prompts": ["A worker is", "A model is"], "max_tokens": 16, "temperature": 1.0},
    )
    add(routes, "/generate", generate_batch, batch)
    return routes


_WORDS = " a process that holds one loaded model."
_FIGURES: dict[str, Any] = {
    "model": "tabagent-demo",
    "tokens_used": 19,
    "processing_time": 0.035,
    "timestamp": "2026-11-21T12:00:00Z",
}
_STREAMS = {
    SSE: events(
        AnswerPart(response=" a process"),
        AnswerPart(response=_WORDS.removeprefix(" a process")),
        StreamEnd(done=True, response="", finish_reason="stop", **_FIGURES),
    ),
    TextStream.media_type: _WORDS,
}
_LISTED = wire.ModelListing(
    name="tabagent-demo",
    format="gguf",
    type="gguf",
    state="loaded",
    size_bytes=7184768,
    memory_bytes=54910976,
    unload_in_s=300.0,
    default=True,
    context_length=1024,
    capabilities=["generate", "chat", "embed", "tokenize"],
)
_LOADED = wire.ModelsLoadResult(
    model="tabagent-demo", state="loaded", context_length=1024, load_ms=80.0, memory_bytes=54910976
)
_METRICS = """# HELP native_host_requests_total Requests answered.
# TYPE native_host_requests_total counter
native_host_requests_total{method="generate",outcome="ok"} 12.0
"""


async def _answer(
    gateway: Gateway, request: Request, method: str, params: wire.GenerateParams | wire.ChatParams
) -> Response:
    """Whole, or streamed: as events, or as text where the client accepts nothing else."""
    if not params.stream:
        began = time.monotonic()
        return json_answer(_whole(await gateway.call(request, method, params), began))
    call = gateway.begin(request, method, params)
    plain = request.headers.get("accept", "").startswith("text/plain")
    form: StreamForm = TextStream() if plain else _AnswerStream(call)
    return await gateway.answer_streaming(call, form)


class _AnswerStream:
    """The events of a streamed answer."""

    media_type = SSE

    def __init__(self, call: GatewayRequest) -> None:
        self._call = call

    def piece(self, piece: Piece | Progress) -> bytes:
        """The next event."""
        if isinstance(piece, Progress):
            return b""
        return sse(AnswerPart(response=piece.text, index=piece.index, logprobs=piece.logprobs))

    def end(self, result: wire.GenerateResult | wire.ChatResult) -> bytes:
        """The last event."""
        return sse(
            StreamEnd(
                done=True,
                response="",
                finish_reason=result.finish_reason,
                tool_calls=result.message.tool_calls if isinstance(result, wire.ChatResult) else None,
                **figures(result, self._call.started),
            )
        )

    def failed(self, error: RpcError) -> bytes:
        """An event with the error."""
        return sse(OWN.body(error))


class _LoadStream:
    """How far a load has come, then its result."""

    media_type = SSE

    def piece(self, piece: Piece | Progress) -> bytes:
        """`{"stage", "fraction", "message"}`."""
        assert isinstance(piece, Progress)
        return sse({"stage": piece.stage, "fraction": piece.fraction, "message": piece.message})

    def end(self, result: wire.ModelsLoadResult) -> bytes:
        """As without a stream."""
        return sse(result)

    def failed(self, error: RpcError) -> bytes:
        """An event with the error."""
        return sse(OWN.body(error))


def _chat_params(asked: ChatRequest) -> wire.ChatParams:
    """Raises invalid_params."""
    if (asked.messages is None) == (asked.prompt is None):
        raise errors.invalid_params("messages", "give messages or prompt, one of the two")
    messages = asked.messages
    if messages is None:
        messages = [wire.ChatMessage(role="user", content=asked.prompt)]
    shared = {name: getattr(asked, name) for name in wire.InferenceParams.__struct_fields__}
    return wire.ChatParams(messages=messages, tools=asked.tools, tool_choice=asked.tool_choice, **shared)


def _whole(result: wire.GenerateResult | wire.ChatResult, began: float) -> Answer | BatchAnswer:
    told = figures(result, began)
    if isinstance(result, wire.ChatResult):
        return Answer(
            response=result.message.content,
            finish_reason=result.finish_reason,
            logprobs=result.logprobs,
            tool_calls=result.message.tool_calls,
            **told,
        )
    if result.texts is not None:
        return BatchAnswer(
            responses=[each.text for each in result.texts],
            finish_reasons=[each.finish_reason for each in result.texts],
            **told,
        )
    return Answer(
        response=result.text or "",
        finish_reason=result.finish_reason or "stop",
        logprobs=result.logprobs,
        **told,
    )


def figures(result: wire.InferenceResult, began: float) -> dict[str, Any]:
    """What is told of every answer beside its text; `began` is a monotonic time."""
    return {
        "model": result.model,
        "tokens_used": result.usage.prompt_tokens + result.usage.completion_tokens,
        "processing_time": round(time.monotonic() - began, 3),
        "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
