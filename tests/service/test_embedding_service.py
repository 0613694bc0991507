"""`embed` and `rerank` over a real worker process whose backend is a fake."""

from __future__ import annotations

import asyncio

import pytest

from native_host.protocol.errors import RpcError
from native_host.protocol.messages import EmbedParams, EmbedResult, RerankParams, RerankResult, TokenizeParams
from native_host.service import Service

from .recording import RecordingContext


async def embed(service: Service, texts: str | list[str]) -> EmbedResult:
    answer = await service.handle("embed", EmbedParams(model="fine", input=texts), RecordingContext())
    assert isinstance(answer, EmbedResult)
    return answer


async def test_one_text_and_several_give_one_vector_each(service: Service) -> None:
    assert (await embed(service, "four")).embeddings == [[4.0]]
    several = await embed(service, ["a", "bcd"])
    assert (several.embeddings, several.dimensions, several.model) == ([[1.0], [3.0]], 1, "fine")


async def test_documents_come_in_the_order_of_their_scores(service: Service) -> None:
    params = RerankParams(model="fine", query="x", documents=["none", "x x", "x", "xx"], top_n=3)
    answer = await service.handle("rerank", params, RecordingContext())
    assert isinstance(answer, RerankResult)
    assert [(each.index, each.score) for each in answer.results] == [(1, 2.0), (3, 2.0), (2, 1.0)]


@pytest.mark.parametrize(
    ("method", "params", "path"),
    [
        ("embed", EmbedParams(input=""), "input"),
        ("embed", EmbedParams(input=[]), "input"),
        ("embed", EmbedParams(input=["a", ""]), "input[1]"),
        ("embed", EmbedParams(input=["a"] * 2049), "input"),
        ("rerank", RerankParams(query="", documents=["a"]), "query"),
        ("rerank", RerankParams(query="a", documents=[]), "documents"),
        ("rerank", RerankParams(query="a", documents=["b", ""]), "documents[1]"),
    ],
)
async def test_texts_that_are_none_are_refused_by_place(
    service: Service, method: str, params: EmbedParams | RerankParams, path: str
) -> None:
    with pytest.raises(RpcError) as caught:
        await service.handle(method, params, RecordingContext())
    assert (caught.value.kind, caught.value.data["path"]) == ("invalid_params", path)


async def test_a_cancelled_embedding_ends_in_the_worker_too(service: Service) -> None:
    endless = asyncio.create_task(embed(service, "forever"))
    await embed_until_loaded(service)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    # The worker has one thread for these: this answer proves that it is free again.
    assert (await embed(service, "next")).embeddings == [[4.0]]


async def embed_until_loaded(service: Service) -> None:
    """The model answers something else, so the embedding asked for before has reached the worker."""
    await service.handle("tokenize", TokenizeParams(model="fine", text="x"), RecordingContext())
