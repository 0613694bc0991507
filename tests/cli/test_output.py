"""Small things of the output."""

from __future__ import annotations

import pytest

from native_host.cli.output import duration, size, without_controls


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [
        (None, "–"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (9_000_000, "8.6 MiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_sizes_are_for_people(bytes_: int | None, text: str) -> None:
    assert size(bytes_) == text


def test_a_model_cannot_write_to_the_terminal_itself() -> None:
    assert without_controls("a\x1b[31mred\x07\x9b2J\r\n\tb\x7f") == "a[31mred2J\n\tb"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 m"),
        (299, "4 m 59 s"),
        (7200, "2 h"),
        (90_061, "1 d 1 h"),
        (86_400, "1 d"),
    ],
)
def test_times_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
