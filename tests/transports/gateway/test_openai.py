"""The rest of OpenAI's API by its official client: completions, embeddings, forms, logprobs, stop, seeds."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
import openai as package
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionContentPartImageParam, ChatCompletionUserMessageParam
from pydantic import BaseModel

from .spawning import Served, served

HELLO: ChatCompletionUserMessageParam = {"role": "user", "content": "hello"}


def test_a_completion(openai: OpenAI) -> None:
    answer = openai.completions.create(model="tiny", prompt="hello", max_tokens=5, seed=1)
    again = openai.completions.create(model="tiny", prompt="hello", max_tokens=5, seed=1)
    assert answer.choices[0].text == again.choices[0].text
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5


def test_several_prompts(openai: OpenAI) -> None:
    answer = openai.completions.create(model="tiny", prompt=["hello", "good morning"], max_tokens=5, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1]
    stream = openai.completions.create(
        model="tiny", prompt=["hello", "good morning"], max_tokens=5, seed=1, stream=True
    )
    texts = {0: "", 1: ""}
    for event in stream:
        for choice in event.choices:
            texts[choice.index] += choice.text
    assert [texts[0], texts[1]] == [choice.text for choice in answer.choices]


def test_token_ids_as_prompt(openai: OpenAI) -> None:
    for prompt in ([5, 6, 7], [[5, 6, 7]]):
        answer = openai.completions.create(model="tiny", prompt=prompt, max_tokens=2)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == 3
    with pytest.raises(package.UnprocessableEntityError):
        openai.completions.create(model="tiny", prompt=[[5, 6], [7]], max_tokens=2)


def test_completion_logprobs(openai: OpenAI) -> None:
    answer = openai.completions.create(model="tiny", prompt="hello", max_tokens=4, logprobs=2, temperature=0)
    found = answer.choices[0].logprobs
    assert found is not None
    assert found.tokens is not None
    assert "".join(found.tokens) == answer.choices[0].text
    assert found.top_logprobs is not None
    assert [len(top) for top in found.top_logprobs] == [2] * 4
    assert found.text_offset is not None
    assert found.text_offset[1] == len(found.tokens[0])


def test_chat_logprobs(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tiny", messages=[HELLO], max_tokens=4, logprobs=True, top_logprobs=3, temperature=0
    )
    assert answer.choices[0].logprobs is not None
    tokens = answer.choices[0].logprobs.content
    assert tokens is not None
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content
    assert [len(token.top_logprobs) for token in tokens] == [3] * 4
    assert bytes(tokens[0].bytes or []).decode() == tokens[0].token
    events = openai.chat.completions.create(
        model="tiny", messages=[HELLO], max_tokens=4, logprobs=True, temperature=0, stream=True
    )
    streamed = [
        token.token
        for event in events
        for choice in event.choices
        if choice.logprobs is not None
        for token in choice.logprobs.content or []
    ]
    assert streamed == [token.token for token in tokens]


def test_stop(openai: OpenAI) -> None:
    whole = openai.chat.completions.create(model="tabagent-demo", messages=[HELLO], max_tokens=12)
    text = whole.choices[0].message.content or ""
    word = text.split()[2]
    cut = openai.chat.completions.create(
        model="tabagent-demo", messages=[HELLO], max_tokens=12, stop=[word, "never"]
    )
    assert cut.choices[0].message.content == text.partition(word)[0]
    assert cut.choices[0].finish_reason == "stop"


class Person(BaseModel):
    """Its values are few and short, so that a random model comes to an end."""

    name: Literal["Ada", "Alan"]
    age: Literal[36, 41]


def test_a_schema(openai: OpenAI) -> None:
    answer = openai.chat.completions.parse(
        model="tiny", messages=[HELLO], max_tokens=400, response_format=Person, seed=3
    )
    person = answer.choices[0].message.parsed
    assert person is not None
    assert person.name in ("Ada", "Alan")


def test_any_object(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tiny", messages=[HELLO], max_tokens=200, response_format={"type": "json_object"}, seed=3
    )
    text = answer.choices[0].message.content or ""
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)
    else:
        assert text.lstrip().startswith("{")


def test_bias_and_seed(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tiny",
        messages=[HELLO],
        max_tokens=3,
        logit_bias={"70": 100},
        temperature=0,
        seed=-5,
        logprobs=True,
        user="somebody",
        metadata={"ignored": "yes"},
    )
    assert answer.choices[0].logprobs is not None
    tokens = [token.token for token in answer.choices[0].logprobs.content or []]
    assert len(set(tokens)) == 1
    with pytest.raises(package.UnprocessableEntityError):
        openai.chat.completions.create(model="tiny", messages=[HELLO], logit_bias={"word": 1})


def test_what_is_not_there_is_refused_by_name(openai: OpenAI) -> None:
    with pytest.raises(package.InternalServerError, match="n other than 1") as caught:
        openai.chat.completions.create(model="tiny", messages=[HELLO], n=2)
    assert caught.value.status_code == 501
    image: ChatCompletionContentPartImageParam = {"type": "image_url", "image_url": {"url": "data:"}}
    with pytest.raises(package.InternalServerError, match="image_url"):
        openai.chat.completions.create(model="tiny", messages=[{"role": "user", "content": [image]}])
    for name, value in {"echo": True, "suffix": "x", "best_of": 2}.items():
        with pytest.raises(package.InternalServerError, match=name):
            openai.completions.create(model="tiny", prompt="hello", extra_body={name: value})


def test_content_in_parts_and_the_developers_word(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        ],
        max_completion_tokens=2,
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


@pytest.mark.parametrize("version", ["", "/v1"])
def test_every_path_by_the_official_client(gateway: Served, version: str) -> None:
    with OpenAI(base_url=f"{gateway.url}{version}", api_key="none", max_retries=0, timeout=100) as client:
        assert "tiny" in {model.id for model in client.models.list()}
        assert client.models.retrieve("tiny").id == "tiny"
        chat = client.chat.completions.create(model="tiny", messages=[HELLO], max_tokens=2)
        assert chat.choices[0].message.content
        stream = client.completions.create(model="tiny", prompt="hello", max_tokens=2, stream=True)
        assert "".join(event.choices[0].text for event in stream)
        assert client.embeddings.create(model="tiny", input="hello").data[0].embedding


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/chat/completions"])
def test_with_and_without_a_version(gateway: Served, path: str) -> None:
    body = {"model": "gpt-3.5-turbo", "messages": [HELLO], "max_tokens": 2, "unheard_of": True}
    answer = httpx.post(gateway.url + path, json=body, timeout=100)
    assert answer.json()["choices"][0]["message"]["content"]


@pytest.fixture(scope="module")
def vectors(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("vectors") / "models.json"
    file.write_text(json.dumps({"models": {"minilm": {"type": "gguf", "path": str(minilm), "threads": 1}}}))
    return file


@pytest.fixture(scope="module")
def embedder(vectors: Path) -> Iterator[OpenAI]:
    with (
        served(vectors) as found,
        OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0, timeout=100) as client,
    ):
        yield client


def test_embeddings(embedder: OpenAI) -> None:
    texts = ["a cat on a mat", "a kitten on a rug", "stock prices fell"]
    answer = embedder.embeddings.create(model="text-embedding-3-small", input=texts)
    first, second, third = [each.embedding for each in answer.data]
    assert answer.model == "minilm"
    assert dot(first, second) > dot(first, third)
    assert answer.usage.prompt_tokens > 10
    plain = embedder.embeddings.create(model="minilm", input=texts[0], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(first, abs=1e-6)


def test_embeddings_in_base64(embedder: OpenAI) -> None:
    answer = embedder.embeddings.create(model="minilm", input="a cat", encoding_format="base64")
    packed = str(answer.data[0].embedding)
    values = struct.unpack("<384f", base64.b64decode(packed))
    plain = embedder.embeddings.create(model="minilm", input="a cat", encoding_format="float")
    assert list(values) == pytest.approx(plain.data[0].embedding, abs=1e-6)


def test_shorter_embeddings(embedder: OpenAI) -> None:
    answer = embedder.embeddings.create(model="minilm", input="a cat", dimensions=100)
    vector = answer.data[0].embedding
    assert len(vector) == 100
    assert dot(vector, vector) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(package.UnprocessableEntityError):
        embedder.embeddings.create(model="minilm", input="a cat", dimensions=1000)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
