"""Checksums as the hub keeps them: sha256 of large files, git's object name of small ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 1 << 20


class Checksum(msgspec.Struct, frozen=True):
    """`hex` in lower case. `git` is sha1 over `blob SIZE NUL` and the content (git's book, chapter 10.2)."""

    kind: Literal["sha256", "git"]
    hex: str

    def begin(self, size: int) -> _Hash:
        """A hash to feed with the content, which is `size` bytes long in all."""
        if self.kind == "sha256":
            return hashlib.sha256()
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)

    def matches(self, file: Path) -> bool:
        """Whether a file has this checksum. Reads all of it. Raises OSError."""
        hashing = self.begin(file.stat().st_size)
        feed(hashing, file)
        return hashing.hexdigest() == self.hex


def feed(hashing: _Hash, file: Path) -> None:
    """Feed a hash with what a file holds. Raises OSError."""
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            hashing.update(chunk)
