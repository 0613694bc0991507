"""llama.cpp's server, as far as its clients go: `/completion`, `/embedding`, `/tokenize`, `/detokenize`,
`/apply-template`, `/rerank`, `/props`. What its clients send beyond what is known here is ignored, as there.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from native_host import __version__
from native_host.protocol import errors
from native_host.protocol import messages as wire
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.gateway.dialects import OPENAI
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.streaming import SSE, events, sse

_GBNF_RULE = re.compile(r"^[ \t]*[a-zA-Z0-9_-]+[ \t]*::=", re.MULTILINE)
"""How rules begin there; in Lark's language it is a colon alone."""

MOST_TOKENS = 2**31 - 1
"""Until the context is full: what `n_predict: -1` means."""


REFUSED = {
    ("GET", "/slots"): "slots: /metrics and /api/v1/models tell what runs",
    ("POST", "/props"): "changing properties: models.json does",
    ("POST", "/infill"): "infill: write the model's own marks into the prompt of /completion",
    ("GET", "/lora-adapters"): "adapters for all requests: each names its own in `adapters`",
    ("POST", "/lora-adapters"): "adapters for all requests: each names its own in `adapters`",
}
"""What that server has and this host does not, by method and path, and the way out."""


class CompletionRequest(Struct, kw_only=True):
    """`/completion`. `prompt` is a text or the token ids of one; `n_predict` -1 is until the context is full,
    `seed` -1 a random one; `grammar` is one in Lark's language.
    """

    prompt: str | list[wire.Token]
    model: str | None = None
    n_predict: Annotated[int, Meta(ge=-1, le=MOST_TOKENS)] = -1
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_k: wire.Natural | None = None
    top_p: wire.Unit | None = None
    min_p: wire.Unit | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    seed: Annotated[int, Meta(ge=-1, le=2**63 - 1)] = -1
    stop: list[str] = []
    stream: bool = False
    cache_prompt: bool = True
    ignore_eos: bool = False
    json_schema: dict[str, Any] | None = None
    grammar: str | None = None


class Timings(Struct, kw_only=True):
    """Tokens, and how fast they were read and written."""

    prompt_n: int
    prompt_per_second: float | None
    predicted_n: int
    predicted_per_second: float | None


class CompletionPart(Struct, kw_only=True):
    """One event of a stream."""

    index: int = 0
    content: str
    stop: bool = False


class Completion(Struct, kw_only=True, omit_defaults=True):
    """An answer, or the last event of a stream. `stop_type` is `limit`, or `eos` where nothing else can have
    ended it."""

    index: int
    content: str
    stop: bool
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    generation_settings: dict[str, Any]
    timings: Timings
    stop_type: str | None = None


class EmbeddingRequest(Struct, kw_only=True):
    """`/embedding`: one text or several, as `content` or as `input`."""

    content: str | list[str] | None = None
    input: str | list[str] | None = None
    model: str | None = None


class Embedding(Struct, kw_only=True):
    """One text's vectors; with pooling, which there always is here, that is one."""

    index: int
    embedding: list[list[float]]


class DefaultSettings(Struct, kw_only=True):
    """What holds where a request says nothing; null where the model does not tell."""

    n_ctx: int | None


class Modalities(Struct, kw_only=True):
    """What a prompt can hold beside text."""

    vision: bool = False
    audio: bool = False


class Props(Struct, kw_only=True):
    """`/props`: of the default model. It is loaded at the first request while `is_sleeping`."""

    default_generation_settings: DefaultSettings
    model_alias: str
    chat_template: str
    modalities: Modalities
    build_info: str
    is_sleeping: bool


class TokenizeRequest(Struct, kw_only=True):
    """`/tokenize`."""

    content: str
    model: str | None = None
    add_special: bool = False
    parse_special: bool = True


class DetokenizeRequest(Struct, kw_only=True):
    """`/detokenize`."""

    tokens: list[wire.Token]
    model: str | None = None


class Detokenized(Struct, kw_only=True):
    """The text of token ids."""

    content: str


class TemplateRequest(Struct, kw_only=True):
    """`/apply-template`."""

    messages: list[wire.ChatMessage]
    model: str | None = None


class RerankRequest(Struct, kw_only=True):
    """`/rerank`."""

    query: str
    documents: list[str]
    model: str | None = None
    top_n: wire.Positive | None = None


class RankedDocument(Struct, kw_only=True):
    """A higher score means more relevant."""

    index: int
    relevance_score: float


class Ranking(Struct, kw_only=True):
    """The documents, the most relevant first."""

    model: str
    object: str = "list"
    usage: dict[str, int]
    results: list[RankedDocument]


def router(gateway: Gateway) -> APIRouter:
    """The routes. That server's errors are OpenAI's."""
    routes = gateway.router(OPENAI)

    async def complete(request: Request) -> Response:
        """Continue a prompt."""
        asked = await gateway.body(request, CompletionRequest)
        params = _params(asked)
        if not asked.stream:
            result: wire.GenerateResult = await gateway.call(request, "generate", params, lenient=True)
            return json_answer(_completion(asked, result, result.text or ""))
        call = gateway.begin(request, "generate", params, lenient=True)
        return await gateway.answer_streaming(call, _Stream(call, asked))

    async def embed(request: Request) -> Response:
        """Turn texts into vectors."""
        asked = await gateway.body(request, EmbeddingRequest)
        given = asked.content if asked.content is not None else asked.input
        if given is None:
            raise errors.invalid_params("content", "is required")
        params = wire.EmbedParams(input=given, model=asked.model)
        found: wire.EmbedResult = await gateway.call(request, "embed", params, lenient=True)
        return json_answer(
            [Embedding(index=index, embedding=[vector]) for index, vector in enumerate(found.embeddings)]
        )

    async def tokenize(request: Request) -> Response:
        """Text to token ids."""
        asked = await gateway.body(request, TokenizeRequest)
        params = wire.TokenizeParams(
            text=asked.content,
            model=asked.model,
            add_special=asked.add_special,
            parse_special=asked.parse_special,
        )
        return json_answer(await gateway.call(request, "tokenize", params, lenient=True))

    async def detokenize(request: Request) -> Response:
        """Token ids to text."""
        asked = await gateway.body(request, DetokenizeRequest)
        params = wire.DetokenizeParams(tokens=asked.tokens, model=asked.model)
        found: wire.DetokenizeResult = await gateway.call(request, "detokenize", params, lenient=True)
        return json_answer(Detokenized(content=found.text))

    async def apply_template(request: Request) -> Response:
        """The prompt that a conversation is to its model."""
        asked = await gateway.body(request, TemplateRequest)
        params = wire.ApplyTemplateParams(messages=asked.messages, model=asked.model)
        return json_answer(await gateway.call(request, "models.apply_template", params, lenient=True))

    async def rerank(request: Request) -> Response:
        """Order documents by how well they answer a query."""
        asked = await gateway.body(request, RerankRequest)
        params = wire.RerankParams(
            query=asked.query, documents=asked.documents, model=asked.model, top_n=asked.top_n
        )
        found: wire.RerankResult = await gateway.call(request, "rerank", params, lenient=True)
        tokens = found.usage.prompt_tokens
        ranked = [RankedDocument(index=each.index, relevance_score=each.score) for each in found.results]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return json_answer(Ranking(model=found.model, usage=usage, results=ranked))

    async def props(request: Request) -> Response:
        """Describe the default model."""
        listed: list[wire.ModelListing] = await gateway.call(request, "models.list", wire.NoParams())
        default = next((each for each in listed if each.default), None)
        if default is None:
            raise errors.unsupported("properties without a default model: name one in models.json")
        template = ""
        if default.state != "absent":
            asked = wire.ModelsInspectParams(model=default.name)
            found: wire.ModelInspection = await gateway.call(request, "models.inspect", asked)
            template = found.chat_template or ""
        described = Props(
            default_generation_settings=DefaultSettings(n_ctx=default.context_length),
            model_alias=default.name,
            chat_template=template,
            modalities=Modalities(),
            build_info=f"native-host {__version__}",
            is_sleeping=default.state != "loaded",
        )
        return json_answer(described)

    async def refuse(request: Request) -> Response:
        raise errors.unsupported(REFUSED[request.method, request.url.path])

    completion = Operation(
        body=CompletionRequest,
        answer=Completion,
        answered=_completed(" a process."),
        streams={SSE: events(CompletionPart(content=" a process."), _completed(""))},
        example={"prompt": "A worker is", "n_predict": 16},
    )
    add(routes, "/completion", complete, completion)
    embedding = Operation(
        body=EmbeddingRequest,
        answer=list[Embedding],
        answered=[Embedding(index=0, embedding=[[0.6, -0.8]])],
        example={"content": "a cat"},
    )
    add(routes, "/embedding", embed, embedding)
    tokens = Operation(
        body=TokenizeRequest,
        answer=wire.TokenizeResult,
        answered=wire.TokenizeResult(tokens=[3005, 269, 283, 1201]),
        example={"content": "good morning"},
    )
    add(routes, "/tokenize", tokenize, tokens)
    text = Operation(
        body=DetokenizeRequest,
        answer=Detokenized,
        answered=Detokenized(content="de"),
        example={"tokens": [70, 71]},
    )
    add(routes, "/detokenize", detokenize, text)
    template = Operation(
        body=TemplateRequest,
        answer=wire.ApplyTemplateResult,
        answered=wire.ApplyTemplateResult(
            prompt="<|im_start|>user\ngood morning<|im_end|>\n<|im_start|>assistant\n"
        ),
        example={"messages": [{"role": "user", "content": "good morning"}]},
    )
    add(routes, "/apply-template", apply_template, template)
    ranking = Operation(
        body=RerankRequest,
        answer=Ranking,
        answered=Ranking(
            model="reranker",
            usage={"prompt_tokens": 12, "total_tokens": 12},
            results=[
                RankedDocument(index=0, relevance_score=2.5),
                RankedDocument(index=1, relevance_score=-4.0),
            ],
        ),
        example={"model": "reranker", "query": "a cat", "documents": ["a kitten", "prices"]},
    )
    add(routes, ("/rerank", "/v1/rerank"), rerank, ranking)
    default = Props(
        default_generation_settings=DefaultSettings(n_ctx=1024),
        model_alias="tabagent-demo",
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
        modalities=Modalities(),
        build_info=f"native-host {__version__}",
        is_sleeping=False,
    )
    add(routes, "/props", props, Operation(answer=Props, answered=default), "GET")
    for method, path in REFUSED:
        routes.add_api_route(path, refuse, methods=[method], response_model=None)
    return routes


def _completed(content: str) -> Completion:
    """An answer for the examples."""
    settings = msgspec.to_builtins(CompletionRequest(prompt="", n_predict=16))
    del settings["prompt"]
    return Completion(
        index=0,
        content=content,
        stop=True,
        model="tabagent-demo",
        tokens_predicted=4,
        tokens_evaluated=3,
        tokens_cached=0,
        generation_settings={**settings, "seed": 7},
        stop_type="eos",
        timings=Timings(prompt_n=3, prompt_per_second=1000.0, predicted_n=4, predicted_per_second=1500.0),
    )


class _Stream:
    """The events of a streamed completion; the last one has `stop: true` and the figures."""

    media_type = SSE

    def __init__(self, call: GatewayRequest, asked: CompletionRequest) -> None:
        self._call = call
        self._asked = asked

    def piece(self, piece: Piece | Progress) -> bytes:
        """The next event."""
        return sse(CompletionPart(content=piece.text)) if isinstance(piece, Piece) else b""

    def end(self, result: wire.GenerateResult) -> bytes:
        """The last one."""
        return sse(_completion(self._asked, result, ""))

    def failed(self, error: RpcError) -> bytes:
        """An event with the error."""
        return sse(OPENAI.body(error))


def _params(asked: CompletionRequest) -> wire.GenerateParams:
    """Raises unsupported for grammars in that server's own language, and invalid_params."""
    if asked.n_predict == 0:
        raise errors.invalid_params("n_predict", "must be -1 or above 0")
    return wire.GenerateParams(
        prompt=asked.prompt,
        model=asked.model,
        max_tokens=MOST_TOKENS if asked.n_predict == -1 else asked.n_predict,
        temperature=asked.temperature,
        top_k=asked.top_k,
        top_p=asked.top_p or None,
        min_p=asked.min_p,
        repeat_penalty=asked.repeat_penalty,
        presence_penalty=asked.presence_penalty,
        frequency_penalty=asked.frequency_penalty,
        seed=None if asked.seed == -1 else asked.seed,
        stop=asked.stop or None,
        stream=asked.stream,
        prefix_cache=asked.cache_prompt,
        ignore_eos=asked.ignore_eos,
        response_format=_form(asked),
    )


def _form(asked: CompletionRequest) -> wire.ResponseFormat | None:
    """What the answer must look like. A grammar stands above a schema, as there."""
    if asked.grammar:
        if _GBNF_RULE.search(asked.grammar):
            raise errors.unsupported("grammars in GBNF: give json_schema, or a `grammar` in Lark's language")
        return wire.ResponseFormat(type="grammar", grammar=asked.grammar)
    if asked.json_schema is not None:
        return wire.ResponseFormat(type="json_schema", json_schema=asked.json_schema)
    return None


def _completion(asked: CompletionRequest, result: wire.GenerateResult, content: str) -> Completion:
    usage, timings = result.usage, result.timings
    stop_type = "limit" if result.finish_reason == "length" else None if asked.stop else "eos"
    settings = msgspec.to_builtins(asked)
    del settings["prompt"]
    return Completion(
        index=0,
        content=content,
        stop=True,
        model=result.model,
        tokens_predicted=usage.completion_tokens,
        tokens_evaluated=usage.prompt_tokens,
        tokens_cached=usage.cached_tokens,
        generation_settings={**settings, "seed": result.seed},
        stop_type=stop_type,
        timings=Timings(
            prompt_n=usage.prompt_tokens - usage.cached_tokens,
            prompt_per_second=timings.prefill_tokens_per_s,
            predicted_n=usage.completion_tokens,
            predicted_per_second=timings.decode_tokens_per_s,
        ),
    )
