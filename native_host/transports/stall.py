"""Tells when a peer that owes us reading has taken nothing at all for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class StallWatch:
    """`taken` is any number that changes when the peer takes something; `on_stall` may be called again and
    again, once a timeout."""

    def __init__(self, timeout_s: float, taken: Callable[[], int], on_stall: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._taken = taken
        self._on_stall = on_stall
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The peer is being waited for, from now on."""
        self._look_later(self._taken())

    def stop(self) -> None:
        """It has caught up, or gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, taken_now: int) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._look, taken_now)

    def _look(self, taken_then: int) -> None:
        taken = self._taken()
        self._look_later(taken)
        if taken == taken_then:
            self._on_stall()
