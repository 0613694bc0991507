"""Checks that bytes are UTF-8 without building the text."""

from __future__ import annotations

import codecs

_STEP = 1024 * 1024


def utf8_problem(payload: bytes | bytearray) -> str | None:
    """What is wrong with `payload` as UTF-8, or None. Holds at most a megabyte of text at a time."""
    if payload.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    with memoryview(payload) as view:
        try:
            for start in range(0, len(view), _STEP):
                decoder.decode(view[start : start + _STEP])
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return f"not UTF-8 ({error.reason})"
    return None
