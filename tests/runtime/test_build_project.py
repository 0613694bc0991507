"""The project that cmake configures: a copy beside the objects, so that checkouts can share them."""

from __future__ import annotations

from pathlib import Path

from runtime_build.compiling import copy_changed


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    source.mkdir()
    (source / "same").write_text("1", encoding="utf-8")
    (source / "other").write_text("1", encoding="utf-8")
    copy_changed(source, into)
    before = (into / "same").stat().st_mtime_ns
    (source / "other").write_text("2", encoding="utf-8")
    (source / "new").write_text("3", encoding="utf-8")
    copy_changed(source, into)
    assert (into / "same").stat().st_mtime_ns == before
    assert {path.name: path.read_text(encoding="utf-8") for path in into.iterdir()} == {
        "same": "1",
        "other": "2",
        "new": "3",
    }


def test_what_is_gone_goes(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    source.mkdir()
    (source / "old").write_text("1", encoding="utf-8")
    copy_changed(source, into)
    (source / "old").unlink()
    copy_changed(source, into)
    assert list(into.iterdir()) == []
