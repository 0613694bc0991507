"""The OpenRPC document: complete, and its schemas agree with what is accepted and sent."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest

from native_host.protocol import messages, openrpc
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import CATALOGUE
from native_host.protocol.methods import METHODS


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_value(openrpc.document()))
    return found


def test_it_has_every_method_error_and_notification(document: dict[str, Any]) -> None:
    assert [method["name"] for method in document["methods"]] == list(METHODS)
    assert set(document["components"]["errors"]) == set(CATALOGUE)
    assert set(document["x-notifications"]["fromHost"]) == {"$/stream", "$/progress", "$/chunk"}


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    def visit(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                found: Any = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    found = found[part]
            for member in node.values():
                visit(member)
        elif isinstance(node, list):
            for member in node:
                visit(member)

    visit(document)


@pytest.mark.parametrize(
    ("params", "valid"),
    [
        ({"prompt": "x"}, True),
        ({"prompt": [1, 2], "stop": ["a"], "seed": 5, "logit_bias": {"7": -1.5}}, True),
        ({"prompt": "x", "max_tokens": 0}, False),
        ({"prompt": "x", "colour": 1}, False),
        ({"prompt": {"a": 1}}, False),
        ({"prompt": "x", "response_format": {"type": "poem"}}, False),
    ],
)
def test_its_schema_and_the_decoder_agree(
    document: dict[str, Any], params: dict[str, object], valid: bool
) -> None:
    schema = {"$ref": "#/components/schemas/GenerateParams", "components": document["components"]}
    by_schema = jsonschema.Draft202012Validator(schema).is_valid(params)
    try:
        msgspec.json.decode(json.dumps(params), type=messages.GenerateParams)
        by_decoder = True
    except msgspec.ValidationError:
        by_decoder = False
    assert (by_schema, by_decoder) == (valid, valid)
