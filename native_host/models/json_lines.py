"""Finds the line on which each key of a JSON document stands.

Decoders name the key that is wrong but not its place in the file; a person who edits `models.json` wants the
place. Only used once a document is known to be wrong, so clarity counts here and speed does not.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')

KeyPath = tuple[str, ...]


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map the path of every object key to its line, counted from 1.

    Members of arrays have their index, as a string, in the path. Of duplicate keys the last counts, as it
    does for the decoder.
    """
    lines: dict[KeyPath, int] = {}
    path: list[str] = []
    containers: list[str] = []
    previous = ""
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token in "{[":
            containers.append(token)
            path.append("0" if token == "[" else "")
        elif token in "}]":
            if containers:
                containers.pop()
                path.pop()
        elif token == "," and containers and containers[-1] == "[":
            path[-1] = str(int(path[-1]) + 1)
        elif token.startswith('"') and containers and containers[-1] == "{" and previous in ("{", ","):
            path[-1] = token[1:-1]
            lines[tuple(path)] = text.count("\n", 0, match.start()) + 1
        previous = token
    return lines
