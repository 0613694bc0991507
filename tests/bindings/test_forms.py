"""`response_format`: answers of random weights, hot, that are of the form all the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from tabagent_model import InvalidArgumentError, PyModel
from tabagent_model.types import ResponseFormat

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}


def answer(model: PyModel, form: ResponseFormat, seed: int = 1) -> str:
    return model.generate("A", max_tokens=400, temperature=1.5, seed=seed, response_format=form)


@pytest.mark.parametrize("schema", [PERSON, json.dumps(PERSON)], ids=["a dict", "JSON text"])
def test_a_schema_holds(model: PyModel, schema: Mapping[str, Any] | str) -> None:
    for seed in range(5):
        person = json.loads(answer(model, {"type": "json_schema", "json_schema": schema}, seed))
        assert set(person) == {"name", "age"}
        assert len(person["name"]) <= 12
        assert 0 <= person["age"] <= 120


def test_a_regular_expression_holds(model: PyModel) -> None:
    text = answer(model, {"type": "regex", "regex": "[a-f]{4}-[0-9]{2}"})
    assert re.fullmatch("[a-f]{4}-[0-9]{2}", text)


def test_a_grammar_holds(model: PyModel) -> None:
    text = answer(model, {"type": "grammar", "grammar": 'start: "yes" | "no"'})
    assert text in ("yes", "no")


def test_plain_text_is_as_without(model: PyModel) -> None:
    plain = model.generate("A", max_tokens=8, temperature=0)
    assert model.generate("A", max_tokens=8, temperature=0, response_format={"type": "text"}) == plain


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("json", "not a dict"),
        ({}, 'no member "type"'),
        ({"type": "poem"}, "possible are text, json_object"),
        ({"type": "regex"}, 'no member "regex"'),
        ({"type": "regex", "regex": 5}, "not a str"),
        ({"type": "regex", "regex": "a", "grammar": "b"}, 'member "grammar"'),
        ({"type": "regex", "regex": "(?=a)b"}, "look-around"),
        ({"type": "json_schema", "json_schema": {"uniqueItems": True}}, "uniqueItems"),
        ({"type": "json_schema", "json_schema": {1, 2}}, "not JSON"),
        ({"type": "json_schema", "json_schema": False}, "false"),
        ({"type": "grammar", "grammar": "start: nothing"}, "nothing"),
    ],
)
def test_what_is_no_form_is_refused_by_what_is_wrong(model: PyModel, form: ResponseFormat, said: str) -> None:
    with pytest.raises(InvalidArgumentError, match="response_format") as refused:
        answer(model, form)
    assert said in str(refused.value)
