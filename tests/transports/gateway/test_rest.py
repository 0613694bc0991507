"""The host's own HTTP API with real models."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import ToyGateway
from .spawning import Served

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def http(gateway: Served) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, timeout=100)


def events(text: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line]


def test_generate(http: httpx.Client) -> None:
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 8, "temperature": 0.7, "top_p": 0.9}
    answer = http.post("/api/v1/generate", json={**body, "stream": False})
    found = answer.json()
    assert set(found) == {
        "response",
        "model",
        "tokens_used",
        "processing_time",
        "timestamp",
        "finish_reason",
    }
    assert found["model"] == "tiny"
    assert found["response"]
    assert found["tokens_used"] > 8
    assert found["processing_time"] > 0
    assert TIMESTAMP.fullmatch(found["timestamp"])


@pytest.mark.parametrize("path", ["/api/v1/generate", "/api/v1/chat"])
def test_streams(http: httpx.Client, path: str) -> None:
    body = {"model": "tiny", "prompt": "hello", "max_tokens": 30, "seed": 5}
    whole = http.post(path, json=body).json()
    streamed = http.post(path, json={**body, "stream": True})
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *pieces, last = events(streamed.text)
    assert "".join(piece["response"] for piece in pieces) == whole["response"]
    assert last["done"] is True
    assert last["tokens_used"] == whole["tokens_used"]
    plain = http.post(path, json={**body, "stream": True}, headers={"accept": "text/plain"})
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert plain.headers["transfer-encoding"] == "chunked"
    assert plain.text == whole["response"]


def test_chat_with_messages(http: httpx.Client) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What are you?"}]
    answer = http.post("/api/v1/chat", json={"messages": messages, "max_tokens": 30})
    assert answer.json()["model"] == "tabagent-demo"
    assert answer.json()["response"]


def test_a_batch(http: httpx.Client) -> None:
    prompts = ["hello", "good morning"]
    body = {"model": "tiny", "prompts": prompts, "max_tokens": 5, "seed": 1}
    answer = http.post("/api/v1/generate", json=body).json()
    assert len(answer["responses"]) == 2
    assert answer["finish_reasons"] == ["length", "length"]


@pytest.mark.parametrize(("prompts", "results"), [("hello", 1), (["hello"], 1), (["hello", "again"], 2)])
def test_the_small_api(http: httpx.Client, prompts: object, results: int) -> None:
    answer = http.post("/generate", json={"prompts": prompts, "max_tokens": 4, "temperature": 1.0})
    assert list(answer.json()) == ["results"]
    assert len(answer.json()["results"]) == results


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("/api/v1/generate", {}, 422, "invalid_params"),
        ("/api/v1/generate", {"prompt": "hello", "max_token": 5}, 422, "invalid_params"),
        ("/api/v1/generate", {"prompt": "hello", "model": "nobody"}, 404, "model_not_found"),
        ("/api/v1/chat", {}, 422, "invalid_params"),
        ("/api/v1/chat", {"prompt": "hello", "messages": []}, 422, "invalid_params"),
        ("/generate", {"prompts": []}, 422, "invalid_params"),
        ("/generate", {"prompts": "hello", "max_tokens": 0}, 422, "invalid_params"),
        ("/api/v1/models/load", {"model": "nobody"}, 404, "model_not_found"),
        ("/api/v1/models/unload", {}, 422, "invalid_params"),
    ],
)
def test_wrong_requests(http: httpx.Client, path: str, body: object, status: int, kind: str) -> None:
    answer = http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (status, kind)


def test_models(http: httpx.Client) -> None:
    names = {model["name"] for model in http.get("/api/v1/models").json()["models"]}
    assert {"tiny", "slow", "tabagent-demo"} <= names


def test_loading_and_unloading(http: httpx.Client) -> None:
    http.post("/api/v1/models/unload", json={"model": "tiny", "force": True})
    load = http.post("/api/v1/models/load", json={"model": "tiny"}, headers={"accept": "text/event-stream"})
    *progress, last = events(load.text)
    assert all(each["stage"] == "load" for each in progress)
    assert (last["model"], last["state"]) == ("tiny", "loaded")
    assert http.post("/api/v1/models/load", json={"model": "tiny"}).json()["state"] == "loaded"
    gone = http.post("/api/v1/models/unload", json={"model": "tiny"})
    assert gone.json() == {"model": "tiny", "state": "available"}


def test_metrics(http: httpx.Client) -> None:
    http.post("/api/v1/generate", json={"model": "tiny", "prompt": "hello", "max_tokens": 3})
    for path in ("/api/v1/metrics", "/metrics"):
        answer = http.get(path)
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        outcomes = {
            (sample.labels["method"], sample.labels["outcome"]): sample.value
            for sample in families["native_host_requests"].samples
        }
        assert outcomes["generate", "ok"] >= 1
        kinds = {
            (sample.labels["model"], sample.labels["kind"]): sample.value
            for sample in families["native_host_tokens"].samples
        }
        assert kinds["tiny", "completion"] >= 3
        memory = {s.labels["model"]: s.value for s in families["native_host_model_memory_bytes"].samples}
        assert memory["tiny"] > 0


def test_health(http: httpx.Client) -> None:
    for path in ("/health", "/v1/health"):
        assert http.get(path).json() == {"status": "ok"}
    for path in ("/api/v1/health", "/api/health"):
        assert http.get(path).json()["status"] == "healthy"


async def test_health_while_the_first_models_load(toy: ToyGateway) -> None:
    toy.host.loading = True
    async with httpx.AsyncClient(base_url=toy.url, timeout=100) as http:
        answer = await http.get("/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "loading model"})
        toy.host.loading = False
        assert (await http.get("/health")).status_code == 200


async def test_text_that_breaks_off_is_not_taken_for_whole(toy: ToyGateway) -> None:
    """The toy streams a piece, then fails."""
    body = {"prompt": "break off", "stream": True}
    async with httpx.AsyncClient(base_url=toy.url, timeout=100) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post("/api/v1/generate", json=body, headers={"accept": "text/plain"})
        events = (await http.post("/api/v1/generate", json=body)).text
    assert '"model_not_found"' in events.splitlines()[-2]
