"""llama.cpp's server's API, by the requests that its clients make."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from native_host.transports.gateway.llama_server import REFUSED

from .spawning import Served, served


@pytest.fixture
def http(gateway: Served) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, timeout=100)


def test_a_completion(http: httpx.Client) -> None:
    body = {
        "prompt": "hello",
        "n_predict": 6,
        "temperature": 0.7,
        "top_k": 40,
        "top_p": 0.9,
        "id_slot": 3,
        "seed": 1,
    }
    answer = http.post("/completion", json={**body, "model": "tiny", "stream": False}).json()
    assert answer["stop"] is True
    assert answer["stop_type"] == "limit"
    assert answer["tokens_predicted"] == 6
    assert answer["generation_settings"]["top_k"] == 40
    assert answer["content"]


def test_a_stream(http: httpx.Client) -> None:
    body = {"prompt": "hello", "n_predict": 20, "model": "tiny", "seed": 3}
    whole = http.post("/completion", json=body).json()
    with http.stream("POST", "/completion", json={**body, "stream": True}) as response:
        chunks = list(response.iter_raw())
    assert all(chunk.endswith(b"\n\n") for chunk in chunks)  # whole events in each write
    events = [json.loads(line[6:]) for line in b"".join(chunks).decode().splitlines() if line]
    assert "".join(event["content"] for event in events) == whole["content"]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]


def test_until_the_context_is_full(http: httpx.Client) -> None:
    answer = http.post("/completion", json={"prompt": "hello", "model": "tiny", "ignore_eos": True}).json()
    assert answer["tokens_predicted"] > 1000
    assert answer["stop_type"] == "limit"


def test_tokens_and_back(http: httpx.Client) -> None:
    tokens = http.post("/tokenize", json={"content": "good morning", "model": "tiny"}).json()["tokens"]
    assert http.post("/detokenize", json={"tokens": tokens, "model": "tiny"}).json() == {
        "content": "good morning"
    }


def test_a_template(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "good morning"}]
    assert "good morning" in http.post("/apply-template", json={"messages": messages}).json()["prompt"]


def test_a_grammar_in_larks_language(http: httpx.Client) -> None:
    body = {"prompt": "hello", "model": "tiny", "grammar": 'start: "yes" | "no"', "n_predict": 8}
    assert http.post("/completion", json=body).json()["content"] in ("yes", "no")


def test_a_grammar_in_gbnf_is_refused_with_the_way_out(http: httpx.Client) -> None:
    answer = http.post("/completion", json={"prompt": "x", "grammar": '# yes\nroot ::= "a"'})
    assert answer.status_code == 501
    message = answer.json()["error"]["message"]
    assert "GBNF" in message
    assert "json_schema" in message


def test_properties(http: httpx.Client) -> None:
    found = http.get("/props").json()
    assert found["model_alias"] == "tabagent-demo"
    assert found["default_generation_settings"]["n_ctx"] > 0
    assert "messages" in found["chat_template"]
    assert found["modalities"] == {"vision": False, "audio": False}


@pytest.mark.parametrize(("method", "path"), REFUSED)
def test_what_that_server_has_and_this_host_has_not(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 501
    assert REFUSED[method, path] in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prompt": ""}, 422),
        ({"prompt": "x", "grammar": "start: ("}, 422),
        ({"prompt": "x", "n_predict": 0}, 422),
    ],
)
def test_what_is_refused(http: httpx.Client, body: dict[str, object], status: int) -> None:
    answer = http.post("/completion", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.fixture(scope="module")
def vectors(minilm: Path, reranker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    file = tmp_path_factory.mktemp("vectors") / "models.json"
    models = {
        name: {"type": "gguf", "path": str(path), "threads": 1}
        for name, path in {"minilm": minilm, "reranker": reranker}.items()
    }
    file.write_text(json.dumps({"models": models}))
    with served(file) as found:
        yield found


def test_embeddings(vectors: Served) -> None:
    for body, texts in (({"content": "a cat"}, 1), ({"input": ["a cat", "a dog"]}, 2)):
        answer = httpx.post(vectors.url + "/embedding", json=body, timeout=100).json()
        assert [each["index"] for each in answer] == list(range(texts))
        assert all(len(each["embedding"]) == 1 for each in answer)
        assert len(answer[0]["embedding"][0]) == 384
    assert httpx.post(vectors.url + "/embedding", json={}, timeout=100).status_code == 422


def test_a_ranking(vectors: Served) -> None:
    body = {"model": "reranker", "query": "a cat", "documents": ["one", "two", "three"], "top_n": 2}
    for path in ("/rerank", "/v1/rerank"):
        results = httpx.post(vectors.url + path, json=body, timeout=100).json()["results"]
        assert len(results) == 2
        assert results[0]["relevance_score"] >= results[1]["relevance_score"]
