"""Sizes and durations as people write them in settings and in `models.json`. Light: settings are on the way
to the first `ping`.
"""

from __future__ import annotations

import math
import re

_BYTES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def bytes_of(size: str | int, least: int = 1) -> int:
    """Bytes that a size such as `"8GB"`, `"512 MiB"` or `8589934592` means; units are powers of 1,024.

    Raises ValueError.
    """
    if isinstance(size, int):
        number, unit = float(size), ""
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])i?b?|b)?\s*", size, re.IGNORECASE)
        if match is None:
            raise ValueError(f'{size!r} is no size; write it like "8GB" or in bytes')
        number, unit = float(match.group(1)), (match.group(2) or "").lower()
    found = int(number * _BYTES[unit])
    if found < least:
        raise ValueError(f"must be {'above 0' if least > 0 else '0 or more'}, not {size}")
    return found


def seconds_of(duration: str | float) -> float:
    """Seconds that a duration such as `"5m"`, `"1h30m"`, `"90"` or `90` means; infinite for a negative one.

    Raises ValueError.
    """
    seconds = _number(duration)
    if seconds is None:
        assert isinstance(duration, str)
        text = duration.strip().lower()
        negative, text = text.startswith("-"), text.removeprefix("-")
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f'{duration!r} is no duration; write it like "5m" or in seconds')
        seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        seconds = -seconds if negative else seconds
    if math.isnan(seconds):
        raise ValueError(f'{duration!r} is no duration; write it like "5m" or in seconds')
    return math.inf if seconds < 0 else seconds


def finite_seconds_of(duration: str | float) -> float:
    """The same, where it must be above 0 and come to an end. Raises ValueError."""
    seconds = seconds_of(duration)
    if seconds <= 0 or math.isinf(seconds):
        raise ValueError(f"{duration!r} is no time above 0, such as 15m")
    return seconds


def _number(duration: str | float) -> float | None:
    try:
        return float(duration)
    except ValueError:
        return None
