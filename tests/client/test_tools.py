"""Tools given as Python functions and types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
import pydantic
import pytest

from native_host.client.tools import choice, described


def get_weather(
    city: str, days: Annotated[int, msgspec.Meta(ge=1, le=14)] = 3, *, unit: Literal["c", "k"] = "c"
) -> str:
    """Tell the weather."""
    return f"{city} {days} {unit}"


@dataclass
class Order:
    """Order things."""

    item: str
    count: int = 1


class Person(pydantic.BaseModel):
    """Find a person."""

    name: str


def test_a_function_is_a_tool() -> None:
    assert described(get_weather) == {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tell the weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 14},
                    "unit": {"enum": ["c", "k"]},
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }


@pytest.mark.parametrize(("kind", "said"), [(Order, "Order things."), (Person, "Find a person.")])
def test_a_type_is_a_tool(kind: type, said: str) -> None:
    told = described(kind)["function"]
    assert isinstance(told, dict)
    assert (told["name"], told["description"]) == (kind.__name__, said)
    assert told["parameters"]["type"] == "object"
    assert set(told["parameters"]["properties"]) <= {"item", "count", "name"}


def test_a_mapping_is_as_it_is_and_a_choice_can_be_a_tool() -> None:
    given = {"type": "function", "function": {"name": "f"}}
    assert described(given) == choice(given) == given
    assert choice("required") == "required"
    assert choice(get_weather) == {"type": "function", "function": {"name": "get_weather"}}


def no_type(x):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - that is the point
    return x


def any_number(*numbers: int) -> int:
    return sum(numbers)


@pytest.mark.parametrize("function", [no_type, any_number])
def test_a_function_whose_arguments_have_no_schema_is_refused(function: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match=function.__name__):
        described(function)
