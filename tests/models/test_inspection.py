"""What is no readable file is refused by name before anything opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from native_host.models.inspection import inspect_file, require_file
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nothing", "no such file"),
        ("folder", "is a folder"),
        ("pipe", "no regular file"),
        ("file/inside", "cannot be read"),
        ("n" * 5000, "cannot be read"),
        ("a\0b", "no path"),
        (os.fsdecode(b"\xff.gguf"), "not UTF-8"),
    ],
)
async def test_refusals(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RpcError, match=said) as caught:
        require_file(tmp_path / name)
    assert caught.value.kind == "invalid_model_file"
    assert encode_value(caught.value.data)
    with pytest.raises(RpcError, match=said):
        await inspect_file(tmp_path / name)


def test_a_regular_file_passes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_file(tmp_path / "file")
