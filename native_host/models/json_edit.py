"""Sets members of an object inside a JSON document and leaves every other character as it was.

`models.json` is written by people: their order, their spacing and what they did not ask to change stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()

Value = str | int | float | bool | None


def with_members(text: str, path: tuple[str, ...], members: Mapping[str, Value]) -> str:
    """The document in which the object at `path` has these members.

    Raises KeyError where there is no such object, and ValueError for what is no JSON.
    """
    for name, value in members.items():
        text = _with_member(text, path, name, json.dumps(value))
    return text


def _with_member(text: str, path: tuple[str, ...], name: str, value: str) -> str:
    start = _object_at(text, path)
    found = _members(text, start)
    if name in found:
        begin, end = found[name]
        return text[:begin] + value + text[end:]
    member = f"{json.dumps(name)}: {value}"
    if not found:
        return f"{text[: start + 1]}{member}{text[_after_space(text, start + 1) :]}"
    last = max(end for _, end in found.values())
    return f"{text[:last]},{_separator(text, start)}{member}{text[last:]}"


def _separator(text: str, start: int) -> str:
    """What stands before the first member: a line break and its indentation, or just a space."""
    return text[start + 1 : _after_space(text, start + 1)] or " "


def _object_at(text: str, path: tuple[str, ...]) -> int:
    """Where the object at `path` begins."""
    at = _after_space(text, 0)
    for name in path:
        at = _members(text, at)[name][0]
    if text[at : at + 1] != "{":
        raise KeyError(path[-1] if path else "")
    return at


def _members(text: str, start: int) -> dict[str, tuple[int, int]]:
    """Where the value of each member of the object at `start` begins and ends; of equal names the last."""
    if text[start : start + 1] != "{":
        return {}
    found: dict[str, tuple[int, int]] = {}
    at = _after_space(text, start + 1)
    while text[at : at + 1] != "}":
        name, at = _decoder.raw_decode(text, at)
        begin = _after_space(text, _after_space(text, at) + 1)
        _, end = _decoder.raw_decode(text, begin)
        found[name] = (begin, end)
        at = _after_space(text, end)
        if text[at : at + 1] == ",":
            at = _after_space(text, at + 1)
    return found


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()
