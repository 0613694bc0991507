"""Ollama's API by its official client, against a real gateway with real models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from ollama import AsyncClient, Client, ResponseError

from native_host import __version__

from .spawning import Served

HELLO = [{"role": "user", "content": "hello"}]
SHORT = {"num_predict": 6, "seed": 1}


@pytest.fixture
def ollama(gateway: Served) -> Client:
    return Client(host=gateway.url, timeout=100)


def test_a_chat(ollama: Client) -> None:
    answer = ollama.chat("tabagent-demo", messages=HELLO)
    assert answer.message.role == "assistant"
    assert answer.message.content
    assert (answer.model, answer.done, answer.done_reason) == ("tabagent-demo", True, "stop")
    assert answer.prompt_eval_count
    assert answer.eval_count
    assert answer.eval_duration
    assert (answer.total_duration or 0) >= (answer.load_duration or 0)
    again = ollama.chat("tabagent-demo:latest", messages=HELLO, options={"temperature": 0})
    assert again.message.content == answer.message.content


def test_a_streamed_chat(ollama: Client) -> None:
    lines = list(ollama.chat("tiny", messages=HELLO, options=SHORT, stream=True))
    whole = ollama.chat("tiny", messages=HELLO, options=SHORT)
    assert "".join(line.message.content or "" for line in lines) == whole.message.content
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].done_reason == "length"
    assert lines[-1].eval_count == 6


def test_a_prompt_is_a_question_unless_it_is_raw(ollama: Client) -> None:
    asked = ollama.generate("tiny", "hello", system="Be kind.", options=SHORT)
    said = [{"role": "system", "content": "Be kind."}, *HELLO]
    assert asked.response == ollama.chat("tiny", messages=said, options=SHORT).message.content
    raw = ollama.generate("tiny", "hello", raw=True, options=SHORT)
    assert raw.prompt_eval_count != asked.prompt_eval_count
    lines = list(ollama.generate("tiny", "hello", raw=True, options=SHORT, stream=True))
    assert "".join(line.response or "" for line in lines) == raw.response


def test_streaming_is_the_default(gateway: Served) -> None:
    body = {"model": "tiny", "prompt": "hello", "options": SHORT}
    answer = httpx.post(f"{gateway.url}/api/generate", json=body, timeout=100)
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1]["done"] is True
    assert len(lines) > 1


def test_forms(ollama: Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    options = {"seed": 1, "num_predict": 200}
    answer = ollama.chat("tabagent-demo", messages=HELLO, format=schema, options=options)
    assert isinstance(json.loads(answer.message.content or "")["n"], int)
    answer = ollama.chat("tabagent-demo", messages=HELLO, format="json", options=options)
    assert isinstance(json.loads(answer.message.content or ""), dict)


def test_options_are_heeded(ollama: Client) -> None:
    free = ollama.generate("tiny", "hello", raw=True, options={**SHORT, "num_predict": 30}).response or ""
    stop = free[3:6]
    cut = ollama.generate("tiny", "hello", raw=True, options={"num_predict": 30, "seed": 1, "stop": [stop]})
    assert cut.response == free[: free.index(stop)]
    assert cut.done_reason == "stop"
    other = ollama.generate("tiny", "hello", raw=True, options={"num_predict": 30, "seed": 2})
    assert other.response != free


def test_logprobs(ollama: Client) -> None:
    options = {"num_predict": 4, "temperature": 0}
    answer = ollama.chat("tiny", messages=HELLO, options=options, logprobs=True, top_logprobs=2)
    assert answer.logprobs is not None
    assert "".join(token.token for token in answer.logprobs) == answer.message.content
    assert [len(token.top_logprobs or []) for token in answer.logprobs] == [2] * 4


def test_a_tool_is_called_and_its_result_read(ollama: Client) -> None:
    parameters = {"type": "object", "properties": {"city": {"enum": ["Bern"]}}, "required": ["city"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": parameters}}
    answer = ollama.chat("tabagent-demo", messages=HELLO, tools=[tool], options={"num_predict": 100})
    assert answer.message.content is not None  # so small a model calls nothing of its own accord
    call = {"function": {"name": "weather", "arguments": {"city": "Bern"}}}
    said: list[Mapping[str, object]] = [
        *HELLO,
        {"role": "assistant", "content": "", "tool_calls": [call, call]},
        {"role": "tool", "content": "sun", "tool_name": "weather"},
        {"role": "tool", "content": "rain", "tool_name": "weather"},
    ]
    assert ollama.chat("tabagent-demo", messages=said, tools=[tool], options={"num_predict": 5}).done


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"model": "tinny", "messages": HELLO}, 404, "tinny"),
        ({"model": "tiny", "messages": [{**HELLO[0], "images": ["aGk="]}]}, 501, "images"),
        ({"model": "tiny", "messages": HELLO, "options": {"mirostat": 2}}, 501, "mirostat"),
        ({"model": "tiny", "messages": HELLO, "options": {"num_predict": 0}}, 422, "num_predict"),
        ({"model": "tiny", "messages": HELLO, "format": "yaml"}, 422, "format"),
        ({"model": "tiny", "messages": HELLO, "keep_alive": "soon"}, 422, "keep_alive"),
        ({"model": "tiny", "messages": [{"role": "oracle", "content": "x"}]}, 422, "role"),
    ],
)
def test_what_is_wrong_is_said(gateway: Served, asked: dict[str, object], status: int, said: str) -> None:
    answer = httpx.post(f"{gateway.url}/api/chat", json={"stream": False, **asked}, timeout=100)
    assert (answer.status_code, said in answer.json()["error"]) == (status, True)


def test_vectors(ollama: Client) -> None:
    several = ollama.embed("tiny", ["hello", "good morning"])
    assert len(several.embeddings) == 2
    assert sum(value * value for value in several.embeddings[0]) == pytest.approx(1.0, abs=1e-4)
    assert several.prompt_eval_count
    assert ollama.embed("tiny", "hello").embeddings[0] == pytest.approx(several.embeddings[0], abs=1e-3)
    assert len(ollama.embed("tiny", "hello", dimensions=4).embeddings[0]) == 4
    old = ollama.embeddings("tiny", "hello").embedding
    assert len(old) == len(several.embeddings[0])


def test_the_models(ollama: Client) -> None:
    listed = {model.model: model for model in ollama.list().models}
    assert {"tabagent-demo", "tiny"} <= set(listed)
    assert (listed["tiny"].size or 0) > 0
    shown = ollama.show("tabagent-demo")
    assert shown.capabilities is not None
    assert "completion" in shown.capabilities
    assert shown.template
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] > 0
    with pytest.raises(ResponseError) as caught:
        ollama.show("nothing")
    assert caught.value.status_code == 404


def test_loading_keeping_and_unloading(ollama: Client) -> None:
    loaded = ollama.generate("tiny", "", keep_alive="1h")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    running = {model.model: model for model in ollama.ps().models}
    assert running["tiny"].expires_at is not None
    assert (running["tiny"].size or 0) > 0
    ollama.chat("tiny", messages=HELLO, options=SHORT, keep_alive="2h")
    later = {model.model: model.expires_at for model in ollama.ps().models}["tiny"]
    assert later is not None
    assert (later - running["tiny"].expires_at).total_seconds() > 3000
    assert ollama.generate("tiny", "", keep_alive=0).done_reason == "unload"
    assert "tiny" not in {model.model for model in ollama.ps().models}


def test_a_pull_tells_how_far_it_is(ollama: Client, gateway_models: Path) -> None:
    steps = list(ollama.pull(f"file:{gateway_models.parent / 'tiny.gguf'}", stream=True))
    assert steps[-1].status == "success"
    assert ollama.pull(f"file:{gateway_models.parent / 'tiny.gguf'}").status == "success"
    assert ollama.pull("tiny:latest").status == "success"  # it is here
    assert [step.status for step in ollama.pull("tiny", stream=True)] == ["success"]
    with pytest.raises(ResponseError, match="hf:"):
        ollama.pull("llama-that-nobody-knows")


def test_what_was_pulled_is_deleted(ollama: Client, gateway_models: Path, tmp_path: Path) -> None:
    shutil.copy(gateway_models.parent / "tiny.gguf", tmp_path / "for-a-moment.gguf")
    ollama.pull(f"file:{tmp_path / 'for-a-moment.gguf'}")
    assert "for-a-moment" in {model.model for model in ollama.list().models}
    assert ollama.delete("for-a-moment").status == "success"
    assert "for-a-moment" not in {model.model for model in ollama.list().models}
    with pytest.raises(ResponseError) as caught:
        ollama.delete("for-a-moment")
    assert caught.value.status_code == 404


def test_the_version(gateway: Served) -> None:
    assert httpx.get(f"{gateway.url}/api/version", timeout=100).json() == {"version": __version__}


async def test_asynchronously(gateway: Served) -> None:
    client = AsyncClient(host=gateway.url, timeout=100)
    stream = await client.chat("tiny", messages=HELLO, options=SHORT, stream=True)
    lines = [line async for line in stream]
    assert lines[-1].done
