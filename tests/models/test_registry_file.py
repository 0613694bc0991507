"""An edit of `models.json` is there at the next look, and a broken one leaves the last good registry."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from native_host.models.registry import BUILTIN_NAMES, RegistryError
from native_host.models.registry_file import RegistryFile


def write(file: Path, *names: str) -> None:
    file.write_text(json.dumps({"models": {name: {"path": f"{name}.gguf"} for name in names}}, indent=1))


def names(file: RegistryFile) -> list[str]:
    return [spec.name for spec in file.current().specs()]


def test_an_edit_is_picked_up_and_nothing_else_makes_a_new_registry(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    write(path, "a")
    file = RegistryFile(lambda: path)
    first = file.current()
    assert file.current() is first
    write(path, "a", "b")
    assert names(file) == ["a", "b", *BUILTIN_NAMES]


def test_a_file_that_an_editor_puts_in_its_place_is_seen_even_at_the_same_time_and_size(
    tmp_path: Path,
) -> None:
    path, other = tmp_path / "models.json", tmp_path / "new"
    write(path, "a")
    write(other, "b")
    file = RegistryFile(lambda: path)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert names(file) == ["b", *BUILTIN_NAMES]


def test_a_broken_edit_keeps_the_last_good_registry_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    write(path, "a")
    file = RegistryFile(lambda: path)
    good = file.current()
    path.write_text('{"models": {"a": {"path": "a.gguf",\n"thread": 1}}}')
    assert file.current() is good
    assert str(file.problem).startswith(f"{path}:2: models.a.thread: unknown key")
    path.unlink()
    assert file.current() is good
    assert "No such file" in str(file.problem)
    write(path, "b", "c")
    assert names(file) == ["b", "c", *BUILTIN_NAMES]
    assert file.problem is None


def test_a_broken_file_at_the_start_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(RegistryError):
        RegistryFile(lambda: tmp_path / "models.json")


def test_a_file_that_comes_into_being_is_found(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    file = RegistryFile(lambda: path if path.is_file() else None)
    assert names(file) == [*BUILTIN_NAMES]
    write(path, "pulled")
    assert names(file) == ["pulled", *BUILTIN_NAMES]
