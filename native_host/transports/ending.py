"""Ends things in time: what cannot be waited for is ended with the process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable


async def within(seconds: float, ending: Awaitable[None]) -> None:
    """Wait, but no longer than this."""
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(ending, seconds)


def exit_after(seconds: float) -> None:
    """Leave with code 0 even if a thread or a native call does not return. Workers see their pipe close and
    go too."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
