"""`/api/embed`, and `/api/embeddings` as older clients call it."""

from __future__ import annotations

import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol.messages import EmbedParams, EmbedResult
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.ollama.shapes import (
    EmbedAnswer,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    EmbedRequest,
)
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.vectors import shortened

EXAMPLE = {"model": "tabagent-demo", "input": ["a cat on a mat", "a kitten on a rug"]}
ANSWERED = EmbedAnswer(
    model="tabagent-demo",
    embeddings=[[0.6, -0.8], [0.8, -0.6]],
    total_duration=4_000_000,
    prompt_eval_count=13,
)
OLD_EXAMPLE = {"model": "tabagent-demo", "prompt": "a cat on a mat"}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """Both of them."""

    async def embed(request: Request) -> Response:
        """Turn texts into vectors of length 1."""
        began = time.monotonic()
        asked = await gateway.body(request, EmbedRequest)
        params = EmbedParams(input=asked.input, model=asked.model, keep_alive=asked.keep_alive)
        found: EmbedResult = await gateway.call(request, "embed", params)
        vectors = found.embeddings
        if asked.dimensions is not None:
            vectors = [shortened(vector, asked.dimensions) for vector in vectors]
        answer = EmbedAnswer(
            model=asked.model,
            embeddings=vectors,
            total_duration=round((time.monotonic() - began) * 1e9),
            prompt_eval_count=found.usage.prompt_tokens,
        )
        return json_answer(answer)

    async def embeddings(request: Request) -> Response:
        """Turn a text into a vector."""
        asked = await gateway.body(request, EmbeddingsRequest)
        params = EmbedParams(
            input=asked.prompt, model=asked.model, normalize=False, keep_alive=asked.keep_alive
        )
        found: EmbedResult = await gateway.call(request, "embed", params)
        return json_answer(EmbeddingsAnswer(embedding=found.embeddings[0]))

    told = Operation(body=EmbedRequest, answer=EmbedAnswer, answered=ANSWERED, example=EXAMPLE)
    add(routes, "/api/embed", embed, told)
    old = EmbeddingsAnswer(embedding=[1.2, -0.4])
    told = Operation(body=EmbeddingsRequest, answer=EmbeddingsAnswer, answered=old, example=OLD_EXAMPLE)
    add(routes, "/api/embeddings", embeddings, told)
