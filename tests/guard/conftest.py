"""Time that stands still unless a test moves it, for our code and for the library that counts."""

from __future__ import annotations

import pytest

NOW = 1_800_000_000.0


class Clock:
    """Seconds since the epoch."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    time = __call__


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that `limits` counts by too."""
    made = Clock()
    monkeypatch.setattr("limits.aio.storage.memory.time", made)
    return made
