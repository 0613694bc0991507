"""Keys set in a `models.json` that people write."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.models.registry import RegistryError
from native_host.models.user_file import set_keys

WRITTEN = b'{"models": {\r\n\t"a": { "path": "\xc3\xa9.gguf",  "threads": 4 }\r\n}}\r\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "models.json"
    file.write_bytes(WRITTEN)
    return file


def test_all_else_stays_as_it_is_written(file: Path) -> None:
    set_keys(file, "a", {"threads": 2})
    assert file.read_bytes() == WRITTEN.replace(b"4", b"2")


def test_an_entry_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(RegistryError, match="'b'"):
        set_keys(file, "b", {"threads": 2})
    assert file.read_bytes() == WRITTEN


def test_what_is_no_json_is_left_alone(file: Path) -> None:
    file.write_text('{"models": ')
    with pytest.raises(RegistryError, match="is not JSON"):
        set_keys(file, "a", {"threads": 2})
    assert file.read_text() == '{"models": '
