"""How deep a JSON document is nested, found without decoding it.

The decoder has a limit of its own, but it depends on Python's build and stack; the contract's does not.
"""

from __future__ import annotations

from itertools import accumulate

_STEP = 256 * 1024
_SLICE = 4096
_OPENING, _CLOSING, _QUOTE = b"[{", b"]}", b'"'
_REST = bytes(set(range(256)) - set(_OPENING + _CLOSING + _QUOTE))
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")


def deeper_than(payload: bytes | bytearray, limit: int) -> bool:
    """Whether arrays and objects nest deeper than `limit`. Any answer will do for what is no JSON.

    Nearly every document has fewer opening brackets than the limit and is done with after counting them. Else
    the text is looked at in windows, so that nothing of its size is built: escapes go, then everything but
    quotes and brackets, then what stands between quotes; what is left becomes +1 and -1, whose running sum is
    the depth.
    """
    if payload.count(b"[") + payload.count(b"{") <= limit:
        return False
    depth, in_text, held = 0, False, b""
    for start in range(0, len(payload), _STEP):
        window = held + payload[start : start + _STEP]
        held = b"\\" if _ends_escaping(window) else b""
        window = window[: len(window) - len(held)]
        window = window.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _REST)
        parts = window.split(_QUOTE)
        brackets = b"".join(parts[in_text::2]).translate(_STEPS)
        in_text ^= len(parts) % 2 == 0
        for at in range(0, len(brackets), _SLICE):
            depths = list(accumulate(memoryview(brackets[at : at + _SLICE]).cast("b"), initial=depth))
            if max(depths) > limit:
                return True
            depth = depths[-1]
    return False


def _ends_escaping(window: bytes) -> bool:
    """Whether the last byte is a backslash that escapes the byte after it."""
    return (len(window) - len(window.rstrip(b"\\"))) % 2 == 1
