"""Answers as models write them, by a format of the table."""

from __future__ import annotations

import json
from typing import Any

from tabagent_model.chat.formats import CallFormat, Slot

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "at": {"type": "object", "properties": {"hour": {"type": "integer"}}},
            },
            "required": ["city"],
        },
    },
}
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now", "description": "Tells the time."}}
TOOLS = [WEATHER, NOW]


def written(call_format: CallFormat, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """Calls, each a name and arguments, as a model writes them that speaks this format."""
    texts = [_call(call_format, index, *call) for index, call in enumerate(calls)]
    return call_format.opening + call_format.between.join(texts) + call_format.closing


def _call(call_format: CallFormat, index: int, name: str, arguments: dict[str, Any]) -> str:
    fills = {
        Slot.NAME: name,
        Slot.ID: f"abcDEF{index:03}",
        Slot.NUMBER: str(index),
        Slot.ARGUMENTS: _arguments(call_format, arguments),
    }
    return "".join(step if isinstance(step, str) else fills[step] for step in call_format.call)


def _arguments(call_format: CallFormat, arguments: dict[str, Any]) -> str:
    shape = call_format.parameters
    if shape is None:
        return json.dumps(arguments, ensure_ascii=False)
    return "".join(
        shape.before
        + name
        + shape.middle
        + (value if isinstance(value, str) else json.dumps(value))
        + shape.after
        for name, value in arguments.items()
    )
