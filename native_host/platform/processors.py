"""How many processors there are for this process."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Those that the system lets this process run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
