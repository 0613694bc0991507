"""What an answer must look like, given as a Python type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from native_host.client.forms import response_format, schema_of


@dataclass
class Point:
    x: int
    label: str | None = None


class Pair(TypedDict):
    left: int


class LikePydantic:
    """Pydantic's way of telling its schema; pydantic itself is no dependency."""

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        return {"type": "object", "title": "LikePydantic"}


def test_mappings_pass_as_they_are() -> None:
    assert response_format({"type": "regex", "regex": "a"}) == {"type": "regex", "regex": "a"}


def test_types_become_schemas() -> None:
    assert response_format(LikePydantic) == {
        "type": "json_schema",
        "json_schema": {"type": "object", "title": "LikePydantic"},
    }
    assert schema_of(Point)["$defs"]["Point"]["required"] == ["x"]
    assert schema_of(Point)["$defs"]["Point"]["additionalProperties"] is False
    assert schema_of(Pair)["$defs"]["Pair"]["properties"] == {"left": {"type": "integer"}}


def test_a_type_that_has_no_schema_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Thread"):
        schema_of(__import__("threading").Thread)
