"""A file that was changed is read again, whatever its times and its size say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from native_host.guard.watched_files import WatchedFile


def test_it_is_read_again_only_if_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    reads: list[Path] = []

    def read(path: Path) -> str:
        reads.append(path)
        return path.read_text()

    watched = WatchedFile(file, read)
    assert (watched.content(), watched.content(), len(reads)) == ("one", "one", 1)
    file.write_text("longer")
    assert (watched.content(), len(reads)) == ("longer", 2)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        watched.content()


def test_a_time_of_writing_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    watched = WatchedFile(file, Path.read_text)
    before = file.stat()
    assert watched.content() == "one"
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # until the file system's clock has gone on
        file.write_text("two")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (
        before.st_mtime_ns,
        before.st_size,
        before.st_ino,
    )
    assert watched.content() == "two"
