"""A model that another program has downloaded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from native_host.models.spec import ModelEntry


class FoundModel(msgspec.Struct, frozen=True):
    """What it would be called and how models.json would name it; `notes` say what of it is not taken over."""

    name: str
    entry: ModelEntry
    notes: list[str] = []

    @property
    def path(self) -> Path:
        """The file or the folder, where the other program keeps it."""
        return Path(self.entry.path)

    @property
    def plain(self) -> bool:
        """Whether its entry says nothing but where it lies."""
        return self.entry == ModelEntry(path=self.entry.path, type=self.entry.type)
