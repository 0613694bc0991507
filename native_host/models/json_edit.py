"""Sets members of an object inside a JSON file and leaves every other byte as it was.

`models.json` is written by people: their order, their spacing and what they did not ask to change stay.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder()

Value = str | int | float | bool | None


def set_members(file: Path, path: tuple[str, ...], members: Mapping[str, Value]) -> None:
    """Give the object at `path` these members, in one step: readers see the old file or the new one.

    Raises KeyError where there is no such object, ValueError for what is no JSON, and OSError.
    """
    with file.open(encoding="utf-8", newline="") as reading:
        text = reading.read()
    _replace(file, with_members(text, path, members))


def with_members(text: str, path: tuple[str, ...], members: Mapping[str, Value]) -> str:
    """The document with these members set. Raises KeyError and ValueError as `set_members` does."""
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


def _replace(file: Path, text: str) -> None:
    """Put a new file in the old one's place, with its mode. A link stays a link."""
    target = file.resolve()
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="", dir=target.parent, prefix=f".{target.name}-", delete=False
    ) as new:
        try:
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
            Path(new.name).chmod(target.stat().st_mode & 0o7777)
            Path(new.name).replace(target)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise
