"""Where things are kept between runs, and the lock that keeps two runs from doing the same work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def directory(name: str) -> Path:
    """A folder of the cache, made when it is missing: below $TABAGENT_CACHE_DIR, else where this system
    keeps caches (platformdirs' rule for the application name "tabagent")."""
    root = os.environ.get("TABAGENT_CACHE_DIR")
    path = (Path(root) if root else system_cache() / "tabagent").absolute() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def system_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def lock(name: str, wait: str) -> Iterator[None]:
    """Holds a lock of the whole machine's user; says `wait` once when someone else has it. The system lets
    it go when the process ends, however it ends."""
    path = directory("locks") / f"{name}.lock"
    with path.open("a+") as file:
        if not try_lock(file):
            print(wait, file=sys.stderr)
            wait_for_lock(file)
        yield


if sys.platform == "win32":
    import msvcrt
    import time

    def try_lock(file: IO[str]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def wait_for_lock(file: IO[str]) -> None:
        while not try_lock(file):
            time.sleep(0.5)

else:
    import fcntl

    def try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def wait_for_lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
