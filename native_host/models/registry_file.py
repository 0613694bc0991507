"""Follows `models.json` while the host runs: an edit is there for the next request that names a model.

The user's own models.json, where pulls and imports are written to, is followed beside the file that was
named or found: what was pulled is there whichever file is in force. A look costs a stat of each. An edit that
cannot be read leaves the last good registry in force, and `problem` says what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from native_host.models.registry import Registry, RegistryError, of_environment
from native_host.telemetry.logs import Log

log = Log("models")

Stamp = tuple[int, int, int]
Stamps = tuple[Stamp | None, Stamp | None]


class RegistryFile:
    """The registry as its file has it now. `locate` says where a file is, as long as there is none."""

    def __init__(
        self, locate: Callable[[], Path | None], default: str | None = None, users: Path | None = None
    ) -> None:
        """`users` is the user's own file. Raises RegistryError where the file in force is unsound at the
        start: there is no good registry yet.
        """
        self.problem: RegistryError | None = None
        self._locate = locate
        self._default = default
        self._users = users
        self._file = locate()
        self._stamps: Stamps | None = self._look()
        self._registry = Registry.load(self._file, default)
        self._registry.take_in(of_environment(os.environ))
        self._take_in_users()

    def current(self) -> Registry:
        """The registry, read anew if the file has changed."""
        if self._file is None:
            self._file = self._locate()
        stamps = self._look()
        if stamps != self._stamps:
            self._stamps = stamps
            self._read()
        return self._registry

    def reread(self) -> None:
        """Have the next look read the files, even if they have not changed."""
        self._stamps = None

    def _look(self) -> Stamps:
        return _stamp(self._file), _stamp(self._users)

    def _take_in_users(self) -> None:
        if self._users is None or self._users == self._file or not self._users.is_file():
            return
        try:
            self._registry.take_in(Registry.load(self._users))
        except RegistryError as error:  # the file in force is sound, so the host can do its work
            self.problem = error
            log.warning("registry.unsound", file=str(error.file), line=error.line, problem=error.problem)

    def _read(self) -> None:
        try:
            self._registry = Registry.load(self._file, self._default)
            self._registry.take_in(of_environment(os.environ))
            self.problem = None
            self._take_in_users()
        except RegistryError as error:
            self.problem = error
            log.warning("registry.unsound", file=str(error.file), line=error.line, problem=error.problem)
            return
        log.info("registry.read", file=str(self._file), models=len(self._registry.specs()))


def _stamp(file: Path | None) -> Stamp | None:
    """Changes whenever the file does: editors write in place or put a new file there."""
    if file is None:
        return None
    try:
        status = os.stat(file)  # noqa: PTH116 -- twice as fast as Path.stat, and in the way of every request
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
