"""`/v1/embeddings`. The official client asks for base64 unless it is told otherwise."""

from __future__ import annotations

import base64
import struct

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.protocol.messages import EmbedParams, EmbedResult
from native_host.transports.gateway.gateway import Gateway, json_answer
from native_host.transports.gateway.openai.shapes import (
    Embedding,
    Embeddings,
    EmbeddingsRequest,
    EmbeddingsUsage,
)
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.vectors import shortened

EXAMPLE = {"model": "tabagent-demo", "input": ["a cat on a mat", "a kitten on a rug"]}


def add_routes(routes: APIRouter, gateway: Gateway) -> None:
    """With and without `/v1`."""

    async def embed(request: Request) -> Response:
        """Turn texts into vectors."""
        asked = await gateway.body(request, EmbeddingsRequest)
        params = EmbedParams(input=asked.input, model=asked.model, timeout_s=asked.timeout_s)
        found: EmbedResult = await gateway.call(request, "embed", params, lenient=True)
        vectors = found.embeddings
        if asked.dimensions is not None:
            vectors = [shortened(vector, asked.dimensions) for vector in vectors]
        data = [
            Embedding(index=index, embedding=_packed(vector) if asked.encoding_format == "base64" else vector)
            for index, vector in enumerate(vectors)
        ]
        tokens = found.usage.prompt_tokens
        usage = EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens)
        return json_answer(Embeddings(data=data, model=found.model, usage=usage))

    operation = Operation(body=EmbeddingsRequest, answer=Embeddings, answered=_ANSWERED, example=EXAMPLE)
    add(routes, ("/v1/embeddings", "/embeddings"), embed, operation)


_ANSWERED = Embeddings(
    data=[Embedding(index=0, embedding=[0.6, -0.8]), Embedding(index=1, embedding=[0.8, -0.6])],
    model="tabagent-demo",
    usage=EmbeddingsUsage(prompt_tokens=13, total_tokens=13),
)


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
