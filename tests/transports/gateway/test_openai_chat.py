"""Chat by OpenAI's official client."""

from __future__ import annotations

import openai as package
import pytest
from openai import OpenAI


def test_models_are_listed(openai: OpenAI) -> None:
    names = [model.id for model in openai.models.list()]
    assert {"tabagent-demo", "tiny", "slow"} <= set(names)
    assert openai.models.retrieve("tiny").id == "tiny"
    with pytest.raises(package.NotFoundError):
        openai.models.retrieve("nothing/of the kind")


def test_an_answer(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tabagent-demo", messages=[{"role": "user", "content": "hello"}], max_tokens=8
    )
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.model == "tabagent-demo"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8


def test_a_stream_joins_to_the_answer(openai: OpenAI) -> None:
    whole = openai.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=40, seed=7
    )
    pieces = list(
        openai.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hello"}],
            max_tokens=40,
            seed=7,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert pieces[0].choices[0].delta.role == "assistant"
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert text == whole.choices[0].message.content
    assert [piece.choices[0].finish_reason for piece in pieces if piece.choices][-1] == "length"
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.completion_tokens == 40
    assert {piece.model for piece in pieces} == {"tiny"}
    assert len({piece.id for piece in pieces}) == 1


def test_an_alias_and_a_name_that_nobody_knows(openai: OpenAI) -> None:
    named = openai.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "hello"}], max_tokens=1
    )
    assert named.model == "tiny"
    unknown = openai.chat.completions.create(
        model="gpt-3.5-turbo", messages=[{"role": "user", "content": "hello"}], max_tokens=1
    )
    assert unknown.model == "tabagent-demo"


def test_an_error_before_a_stream_has_a_status(openai: OpenAI) -> None:
    with pytest.raises(package.UnprocessableEntityError) as caught:
        openai.chat.completions.create(model="tiny", messages=[], stream=True)
    assert caught.value.code == "invalid_params"
    assert caught.value.param == "messages"


def test_leaving_a_stream_ends_it(openai: OpenAI) -> None:
    stream = openai.chat.completions.create(
        model="slow",
        messages=[{"role": "user", "content": "hello"}],
        max_tokens=4000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    stream.close()
    # A model in use is not deleted or unloaded; this answers once nothing runs.
    answer = openai.chat.completions.create(
        model="slow", messages=[{"role": "user", "content": "hello"}], max_tokens=1
    )
    assert answer.usage is not None
