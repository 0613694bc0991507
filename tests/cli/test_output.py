"""Small things of the output."""

from __future__ import annotations

import pytest

from native_host.cli.output import size, without_controls


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
