"""A file that is read again whenever it has changed: looked at for every question, read seldom."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class WatchedFile(Generic[T]):
    """What `read` makes of a file."""

    def __init__(self, path: Path, read: Callable[[Path], T]) -> None:
        self.path = path
        self._read = read
        self._found: tuple[tuple[int, ...], T] | None = None

    def content(self) -> T:
        """What the file holds now. Raises what `read` raises, and OSError: FileNotFoundError where there is
        none.
        """
        found = self.path.stat()
        # A file's time of writing can be set; that of its last change cannot.
        times = (found.st_mtime_ns, found.st_ctime_ns)
        version = (found.st_ino, found.st_dev, *times, found.st_size, found.st_mode)
        if self._found is None or self._found[0] != version:
            self._found = version, self._read(self.path)
        return self._found[1]
