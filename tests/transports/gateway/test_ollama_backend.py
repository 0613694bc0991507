"""This host's own `type: "ollama"` models, from this host's own gateway: both ends of one API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ollama import Client

from native_host.client import Host
from native_host.protocol.errors import RpcError

from .spawning import Served


@pytest.fixture
def host(gateway: Served, tmp_path: Path) -> Iterator[Host]:
    models = {
        name: {"type": "ollama", "path": path}
        for name, path in {"far": "tiny", "far-demo": "tabagent-demo", "gone": "nothing"}.items()
    }
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"default": "far", "models": models}))
    with Host.spawn(models=file, env={"OLLAMA_BASE_URL": gateway.url}) as host:
        yield host


def test_a_chat_is_that_of_the_far_model(host: Host, gateway: Served) -> None:
    asked = "What is a runtime pack?"
    stream = host.chat(asked, model="far-demo", temperature=0)
    pieces = list(stream)
    near = Client(host=gateway.url).chat(
        "tabagent-demo", messages=[{"role": "user", "content": asked}], options={"temperature": 0}
    )
    assert "".join(pieces) == stream.result.message.content == near.message.content
    assert stream.result.usage.completion_tokens == near.eval_count
    assert stream.result.usage.prompt_tokens == near.prompt_eval_count


def test_a_prompt_goes_as_it_stands(host: Host, gateway: Served) -> None:
    text = host.generate("hello", max_tokens=8, seed=1, temperature=0).text
    near = Client(host=gateway.url).generate(
        "tiny", "hello", raw=True, options={"num_predict": 8, "temperature": 0}
    )
    assert text == near.response


def test_vectors(host: Host) -> None:
    found = host.call("embed", {"input": ["hello", "good morning"], "model": "far"})
    assert isinstance(found, dict)
    assert len(found["embeddings"]) == 2


def test_a_model_that_the_server_does_not_have(host: Host) -> None:
    with pytest.raises(RpcError) as caught:
        host.generate("hello", model="gone")
    assert caught.value.kind == "model_absent"


def test_cancelling_ends_it_there_too(host: Host) -> None:
    def cancelled(seed: int) -> bool:
        stream = host.stream("hello", max_tokens=1500, seed=seed)
        next(iter(stream))
        stream.cancel()
        try:
            _ = stream.result
        except RpcError as error:
            return error.kind == "cancelled"
        return False  # the answer was over before

    assert any(cancelled(seed) for seed in range(5))
    assert host.generate("hello", max_tokens=2, temperature=0).usage.completion_tokens == 2
