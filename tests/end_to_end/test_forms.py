"""`response_format` through a real host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import msgspec
import pytest

from native_host.client import Host, RpcError

INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^INV-[0-9]{4}$"},
        "lines": {
            "type": "array",
            "items": {"$ref": "#/$defs/line"},
            "minItems": 1,
            "maxItems": 2,
        },
        "paid": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
    },
    "required": ["number", "lines", "paid"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "maxLength": 20},
                "amount": {"type": "number", "minimum": 0, "maximum": 999},
            },
            "required": ["text", "amount"],
            "additionalProperties": False,
        }
    },
}


@dataclass
class Person:
    name: Annotated[str, msgspec.Meta(max_length=10)]
    age: Annotated[int, msgspec.Meta(ge=0, le=120)]


@pytest.fixture(scope="module")
def host(models_file: Path) -> Iterator[Host]:
    with Host.spawn(models=models_file) as host:
        yield host


def test_an_answer_is_of_its_schema(host: Host) -> None:
    for seed in range(4):
        answer = host.chat(
            "Write an invoice.",
            response_format={"type": "json_schema", "json_schema": INVOICE},
            temperature=1.5,
            seed=seed,
            max_tokens=500,
        ).result
        assert answer.finish_reason == "stop"
        jsonschema.validate(json.loads(answer.message.content), INVOICE)


def test_a_dataclass_is_a_schema_too(host: Host) -> None:
    said = host.generate("A person:", response_format=Person, temperature=1.5, seed=3, max_tokens=400)
    person = msgspec.json.decode(said.text, type=Person)
    assert len(person.name) <= 10


@pytest.mark.parametrize(
    ("form", "path", "said"),
    [
        ({"type": "json_schema"}, "response_format.json_schema", "missing"),
        ({"type": "regex", "grammar": "x"}, "response_format.grammar", "regex"),
        ({"type": "json_schema", "json_schema": {"uniqueItems": True}}, "response_format", "uniqueItems"),
        ({"type": "regex", "regex": "("}, "response_format", "unclosed"),
    ],
)
def test_a_form_that_cannot_be_met_is_refused_by_name(
    host: Host, form: dict[str, Any], path: str, said: str
) -> None:
    with pytest.raises(RpcError) as refused:
        host.call("generate", {"prompt": "x", "response_format": form})
    assert (refused.value.kind, refused.value.data["path"]) == ("invalid_params", path)
    assert said in refused.value.data["problem"]
