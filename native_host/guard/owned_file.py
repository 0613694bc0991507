"""A file that says who may do what: it counts only where nobody but its owner can write it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")


def read_owned(file: Path, kind: type[T], refused: type[ValueError]) -> T:
    """What the file holds. Raises `refused` where everybody can write it or it holds something else, and
    OSError.
    """
    if file.stat().st_mode & stat.S_IWOTH:
        raise refused(f"{file} can be written by everybody: chmod 600 it, and look at what is in it")
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise refused(f"{file}: {error}") from error
