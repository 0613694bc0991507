"""Models of an Ollama server, by a stand-in that speaks its API (ollama_stand_in.py)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import ollama
import pytest

from native_host.client import Host
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ModelListing
from native_host.workers.messages import (
    DetokenizeRequest,
    EmbedRequest,
    LoadOptions,
    Piece,
    RerankRequest,
    TemplateRequest,
    TokenizeRequest,
)
from workers.ollama_stand_in import EMBEDDER, MODEL, Server, serving
from workers.real_workers import asked, chat, heard, loaded


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OLLAMA_TIMEOUT_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server:
        monkeypatch.setenv("OLLAMA_BASE_URL", server.url)
        yield server


def test_the_stand_in_speaks_as_ollamas_own_client_expects(server: Server) -> None:
    client = ollama.Client(host=server.url)
    told = [part.response for part in client.generate(MODEL, "[one two]", stream=True)]
    assert told == ["one ", "two ", ""]
    whole = client.chat(MODEL, [{"role": "user", "content": "[one two]"}])
    assert (whole.message.content, whole.done_reason, whole.eval_count) == ("one two", "stop", 2)
    assert client.embed(EMBEDDER, ["a", "bb"]).embeddings == [[1.0, 0.0], [0.0, 1.0]]
    assert client.show(MODEL).capabilities == ["completion"]
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate("absent", "x")
    assert caught.value.status_code == 404


async def test_it_generates_and_chats(server: Server) -> None:
    async with loaded("ollama", MODEL, LoadOptions(context_length=2048, threads=3)) as worker:
        assert (worker.info.context_length, worker.info.context_train_size) == (2048, 4096)
        assert worker.info.capabilities == ["generate", "chat"]
        told = await heard(worker, asked("say [one two three]", temperature=0.5, seed=7))
        assert (told.text, told.end.reason) == ("one two three ", "stop")
        assert (told.end.usage.prompt_tokens, told.end.usage.completion_tokens) == (4, 3)
        sent = server.bodies[-1]
        assert (sent["raw"], sent["prompt"], sent["stream"]) == (True, "say [one two three]", True)
        options = sent["options"]
        assert (options["num_ctx"], options["num_thread"], options["num_predict"]) == (2048, 3, 64)
        assert (options["temperature"], options["seed"], options["top_k"]) == (0.5, 7, 40)
        answered = await heard(worker, chat("say [yes]"))
        assert answered.text == "yes "
        assert server.bodies[-1]["messages"] == [{"role": "user", "content": "say [yes]"}]


async def test_stops_and_limits(server: Server) -> None:
    async with loaded("ollama", MODEL) as worker:
        stopped = await heard(worker, asked("[one two three]", stop=["wo t"]))
        assert (stopped.text, stopped.end.reason) == ("one t", "stop")
        short = await heard(worker, asked("[one two three]", max_tokens=2))
        assert (short.text, short.end.reason) == ("one two ", "length")
        assert (await heard(worker, asked("[one]", max_tokens=0))).text == ""


async def test_few_connections_serve_many_requests_and_no_more_at_once(server: Server) -> None:
    async with loaded("ollama", MODEL, LoadOptions(parallel=2)) as worker:
        answers = await asyncio.gather(*(heard(worker, asked(f"[{n}]", identity=n % 3)) for n in range(20)))
        assert [answer.text for answer in answers] == [f"{n} " for n in range(20)]
    assert server.most_at_once <= 2
    assert server.connections <= 3


async def test_cancelling_closes_the_stream(server: Server) -> None:
    async with loaded("ollama", MODEL) as worker:
        async with worker.generate(asked("[]")) as batches:
            async for batch in batches:
                if any(isinstance(event, Piece) for event in batch):
                    break
        assert await asyncio.to_thread(server.closed_on_us.wait, 10)
        assert (await heard(worker, asked("[x]"))).text == "x "


async def test_embeddings(server: Server) -> None:
    async with loaded("ollama", EMBEDDER) as worker:
        assert worker.info.capabilities == ["embed"]
        result = await worker.embed(EmbedRequest(["a", "bb"]))
        assert (result.embeddings, result.tokens) == ([[1.0, 0.0], [0.0, 1.0]], 7)
        for request in (EmbedRequest(["a"], normalize=False),):
            with pytest.raises(RpcError) as caught:
                await worker.embed(request)
            assert caught.value.kind == "unsupported"
        with pytest.raises(RpcError) as no_chat:
            await heard(worker, chat("hi"))
        assert no_chat.value.kind == "unsupported"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"prompt": "busy"}, "overloaded"),
        ({"prompt": "memory"}, "model_load_failed"),
        ({"prompt": "break"}, "internal_error"),
        ({"prompt": [1, 2]}, "unsupported"),
        ({"logprobs": 1}, "unsupported"),
        ({"logit_bias": {1: 1.0}}, "unsupported"),
        ({"ignore_eos": True}, "unsupported"),
        ({"deterministic": True}, "unsupported"),
        ({"prefix_cache": False}, "unsupported"),
    ],
)
async def test_errors(server: Server, changes: dict[str, object], kind: str) -> None:
    async with loaded("ollama", MODEL) as worker:
        with pytest.raises(RpcError) as caught:
            await heard(worker, asked(**changes))  # type: ignore[arg-type]
        assert caught.value.kind == kind
        assert (await heard(worker, asked("[x]"))).text == "x "


async def test_what_its_api_lacks_is_said(server: Server) -> None:
    async with loaded("ollama", MODEL) as worker:
        for call in (
            worker.tokenize(TokenizeRequest("x")),
            worker.detokenize(DetokenizeRequest([1])),
            worker.apply_template(TemplateRequest([])),
            worker.rerank(RerankRequest("x", ["y"])),
            worker.embed(EmbedRequest(["x"])),
        ):
            with pytest.raises(RpcError) as caught:
                await call
            assert caught.value.kind == "unsupported"


async def test_a_server_that_is_silent_too_long(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_TIMEOUT_SECONDS", "0.2")
    async with loaded("ollama", MODEL) as worker:
        with pytest.raises(RpcError) as caught:
            await heard(worker, asked("silence"))
        server.closed_on_us.set()
    assert caught.value.kind == "timeout"


async def test_an_absent_model_and_an_absent_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RpcError) as absent:
        async with loaded("ollama", "llama3"):
            pass
    assert absent.value.kind == "model_absent"
    assert absent.value.data["command"] == "ollama pull llama3"
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(RpcError) as unreachable:
        async with loaded("ollama", MODEL):
            pass
    assert unreachable.value.kind == "model_load_failed"
    assert "127.0.0.1:9" in unreachable.value.data["reason"]
    assert "ollama serve" in unreachable.value.data["reason"]


def test_the_model_that_the_environment_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODEL", MODEL)
    file = tmp_path / "models.json"
    file.write_text("{}")
    with Host.spawn(models=file) as host:
        assert host.chat("say [it works]", model=MODEL).result.message.content == "it works "


def test_through_a_host(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    models = {"words": {"type": "ollama", "path": MODEL}, "gone": {"type": "ollama", "path": "gone"}}
    file.write_text(json.dumps({"default": "words", "models": models}))
    with Host.spawn(models=file) as host:
        assert host.chat("say [it works]").result.message.content == "it works "
        models_listed = msgspec.convert(host.call("models.list", {}), list[ModelListing])
        listed = {model.name: model for model in models_listed}
        words = listed["words"]
        assert (words.format, words.state, words.capabilities) == ("ollama", "loaded", ["generate", "chat"])
        assert (listed["gone"].state, listed["gone"].capabilities) == ("available", [])
        for call, kind in (("models.inspect", "unsupported"), ("models.load", "model_absent")):
            with pytest.raises(RpcError) as caught:
                host.call(call, {"model": "gone"})
            assert caught.value.kind == kind
