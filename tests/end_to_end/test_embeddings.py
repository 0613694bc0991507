"""`embed` and `rerank` through a spawned host, on a real embedding model and a random reranker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from native_host.client import Host, RpcError


@pytest.fixture(scope="module")
def host(minilm: Path, reranker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    file = tmp_path_factory.mktemp("registry") / "models.json"
    models = {
        name: {"type": "gguf", "path": str(path), "threads": 1}
        for name, path in (("minilm", minilm), ("reranker", reranker))
    }
    file.write_text(json.dumps({"default": "minilm", "models": models}))
    with Host.spawn(models=file) as host:
        yield host


def embed(host: Host, *texts: str, model: str = "minilm") -> list[list[float]]:
    answer = host.call("embed", {"model": model, "input": list(texts)})
    assert isinstance(answer, dict)
    vectors: list[list[float]] = answer["embeddings"]
    assert answer["dimensions"] == len(vectors[0])
    assert answer["usage"]["prompt_tokens"] > 0
    return vectors


def refusal(host: Host, method: str, params: dict[str, object]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        host.call(method, params)
    return caught.value


def test_texts_that_mean_the_same_are_near(host: Host) -> None:
    cat, feline, tax = embed(
        host,
        "A cat sleeps on the sofa.",
        "The kitten is napping on the couch.",
        "Corporate tax law changed in 1986.",
    )
    near, far = (sum(a * b for a, b in zip(cat, other, strict=True)) for other in (feline, tax))
    assert near > 0.5 > 0.2 > far


def test_documents_are_ranked_and_the_best_are_kept(host: Host) -> None:
    params: dict[str, object] = {
        "model": "reranker",
        "query": "sleep",
        "documents": ["one", "two two", "three three three"],
    }
    everything = host.call("rerank", params)
    assert isinstance(everything, dict)
    scores = [each["score"] for each in everything["results"]]
    assert sorted(scores, reverse=True) == scores
    assert len(scores) == 3
    best = host.call("rerank", {**params, "top_n": 1})
    assert isinstance(best, dict)
    assert best["results"] == everything["results"][:1]


def test_models_say_what_they_can_do_before_and_after_loading(host: Host) -> None:
    embed(host, "loads it")
    can = {model.name: model.capabilities for model in host.models()}
    assert can["minilm"] == ["embed", "tokenize"]
    assert can["reranker"] == ["rerank", "tokenize"]
    assert set(can["tabagent-demo"]) >= {"generate", "chat", "embed", "tokenize"}


def test_the_model_that_generates_embeds_too(host: Host) -> None:
    assert len(embed(host, "one text", "another", model="tabagent-demo")) == 2


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("generate", {"model": "minilm", "prompt": "Once upon a time"}),
        ("rerank", {"model": "minilm", "query": "a", "documents": ["b"]}),
        ("embed", {"model": "reranker", "input": "a"}),
        ("rerank", {"model": "tabagent-demo", "query": "a", "documents": ["b"]}),
    ],
)
def test_what_a_model_cannot_do_is_refused(host: Host, method: str, params: dict[str, object]) -> None:
    assert refusal(host, method, params).kind == "unsupported"


def test_a_text_that_is_too_long_is_refused_with_its_length(host: Host) -> None:
    error = refusal(host, "embed", {"model": "minilm", "input": ["short", "word " * 700]})
    assert (error.kind, error.data["tokens"], error.data["limit"]) == ("input_too_long", 702, 512)
    error = refusal(host, "embed", {"model": "minilm", "input": "x" * 1_000_000})
    assert error.kind == "input_too_long"
