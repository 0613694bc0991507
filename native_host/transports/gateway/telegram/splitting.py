"""Cuts long texts into messages. Telegram counts UTF-16 code units, of which an emoji has two."""

from __future__ import annotations

import unicodedata

MESSAGE_LIMIT = 4096
"""Of a message, in UTF-16 code units."""

_BREAKS = ("\n\n", "\n", " ")
"""Where to cut, the best first."""
_JOINER = "\u200d"


def split(text: str, limit: int = MESSAGE_LIMIT) -> tuple[str, str]:
    """The first message of a text, of at most `limit` units (two at least), and the rest, which is empty
    where all fits. White space between the two is lost, and nothing else.
    """
    text = text.strip()
    cut = _cut(text, limit)
    return text[:cut].rstrip(), text[cut:].lstrip()


def _cut(text: str, limit: int) -> int:
    """How many characters the first message has."""
    longest = _fitting(text, limit)
    if longest == len(text):
        return longest
    for mark in _BREAKS:
        found = text.rfind(mark, longest // 2, longest + len(mark))
        if 0 < found <= longest:
            return found
    return _before_marks(text, longest)


def _fitting(text: str, limit: int) -> int:
    """How many characters have at most `limit` units."""
    units = 0
    for index, character in enumerate(text):
        units += 1 + (character > "\uffff")
        if units > limit:
            return index
    return len(text)


def _before_marks(text: str, longest: int) -> int:
    """A place near `longest` that does not tear an accent, or a part of an emoji, from what it belongs to."""
    for index in range(longest, max(longest - 32, 1), -1):
        joined = text[index] == _JOINER or text[index - 1] == _JOINER
        if not joined and not unicodedata.category(text[index]).startswith("M"):
            return index
    return longest
