"""Follows `models.json` while the host runs: an edit is there for the next request that names a model.

A look costs one stat. An edit that cannot be read leaves the last good registry in force, and `problem` says
what is wrong with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from native_host.models.registry import Registry, RegistryError
from native_host.telemetry.logs import Log

log = Log("models")

Stamp = tuple[int, int, int]


class RegistryFile:
    """The registry as its file has it now. `locate` says where a file is, as long as there is none."""

    def __init__(self, locate: Callable[[], Path | None], default: str | None = None) -> None:
        """Raises RegistryError where the file is unsound at the start: there is no good registry yet."""
        self.problem: RegistryError | None = None
        self._locate = locate
        self._default = default
        self._file = locate()
        self._stamp = _stamp(self._file)
        self._registry = Registry.load(self._file, default)

    def current(self) -> Registry:
        """The registry, read anew if the file has changed."""
        if self._file is None:
            self._file = self._locate()
        stamp = _stamp(self._file)
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()
        return self._registry

    def _read(self) -> None:
        try:
            self._registry = Registry.load(self._file, self._default)
            self.problem = None
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
