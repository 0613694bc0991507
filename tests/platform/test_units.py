"""Sizes and durations as people write them."""

from __future__ import annotations

import math

import pytest

from native_host.units import bytes_of, seconds_of


@pytest.mark.parametrize(
    ("size", "expected"),
    [("8GB", 8 << 30), ("512 MiB", 512 << 20), ("1.5g", 3 << 29), (4096, 4096), ("10b", 10), ("7", 7)],
)
def test_sizes(size: str | int, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", [0, "0", "0MB", "0 GiB"])
def test_nothing_is_a_size_where_that_is_allowed(size: str | int) -> None:
    assert bytes_of(size, least=0) == 0
    with pytest.raises(ValueError):
        bytes_of(-1, least=0)


@pytest.mark.parametrize("size", ["", "GB", "8 apples", "-1GB", 0, "0MB", "8GBB"])
def test_what_is_no_size_is_refused(size: str | int) -> None:
    with pytest.raises(ValueError):
        bytes_of(size)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("5m", 300),
        ("1h30m", 5400),
        ("90", 90),
        (0, 0),
        (1.5, 1.5),
        ("500ms", 0.5),
        (-1, math.inf),
        ("-1m", math.inf),
        (" 2D ", 172_800),
    ],
)
def test_durations(duration: str | float, expected: float) -> None:
    assert seconds_of(duration) == expected


@pytest.mark.parametrize("duration", ["", "m", "5 minutes", "5m3", "nan", "soon", "--5m"])
def test_what_is_no_duration_is_refused(duration: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        seconds_of(duration)
