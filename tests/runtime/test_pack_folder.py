"""The pack's folder: recognized only when whole, replaced at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runtime_build import pack
from runtime_build.hashing import sha256_of

BUILD_ID = "0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "libllama.so").write_bytes(b"a library")
    (folder / "libggml.so").write_bytes(b"another")
    files = {path.name: {"sha256": sha256_of(path)} for path in folder.iterdir()}
    manifest = {"build_id": BUILD_ID, "files": files}
    (folder / pack.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_a_whole_pack_is_right(folder: Path) -> None:
    assert pack.is_right(folder, {BUILD_ID})
    assert pack.is_right(folder, {"another id", BUILD_ID})


def test_another_id_is_not(folder: Path) -> None:
    assert not pack.is_right(folder, {"another id"})


def test_a_changed_file_is_not(folder: Path) -> None:
    (folder / "libllama.so").write_bytes(b"a librarz")
    assert not pack.is_right(folder, {BUILD_ID})


def test_a_missing_file_is_not(folder: Path) -> None:
    (folder / "libllama.so").unlink()
    assert not pack.is_right(folder, {BUILD_ID})


def test_a_file_too_many_is_not(folder: Path) -> None:
    (folder / "libstdc++.so.6").write_bytes(b"planted")
    assert not pack.is_right(folder, {BUILD_ID})


NO_MANIFESTS = ["", "[]", "{}", "null", '{"build_id": "0123456789abcdef", "files": 3}', "\udcff"]


@pytest.mark.parametrize("text", NO_MANIFESTS)
def test_a_manifest_that_is_none_is_not(folder: Path, text: str) -> None:
    (folder / pack.MANIFEST).write_text(text, encoding="utf-8", errors="surrogateescape")
    assert not pack.is_right(folder, {BUILD_ID})


def test_no_folder_is_not(tmp_path: Path) -> None:
    assert not pack.is_right(tmp_path / "absent", {BUILD_ID})


def test_installing_replaces_what_was_there(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "package" / "runtime"
    into.mkdir(parents=True)
    (into / "libold.so").write_bytes(b"of an older pack")
    pack.install(folder, into)
    assert pack.is_right(into, {BUILD_ID})
    assert {path.name for path in into.parent.iterdir()} == {"runtime"}
    assert pack.is_right(folder, {BUILD_ID}), "the pack in the cache stays"


def test_installing_anew_makes_the_folders(folder: Path, tmp_path: Path) -> None:
    pack.install(folder, tmp_path / "a" / "b" / "runtime")
    assert pack.is_right(tmp_path / "a" / "b" / "runtime", {BUILD_ID})


def test_what_was_there_comes_back_when_replacing_fails(folder: Path, tmp_path: Path) -> None:
    missing = tmp_path / "temporary" / "new"
    missing.parent.mkdir()
    with pytest.raises(OSError, match="new"):
        pack.replace(missing, folder)
    assert pack.is_right(folder, {BUILD_ID})
