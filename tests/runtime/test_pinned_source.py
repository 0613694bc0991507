"""The source package: fetched by hash, unpacked without trusting its names."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from runtime_build import source
from runtime_build.failure import BuildFailure

from native_host.models.convert import llama_cpp_source
from native_host.models.convert.llama_cpp_source import SourceError


def archive(path: Path, names: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_only_what_is_needed_is_unpacked(tmp_path: Path) -> None:
    top = "llama_cpp_python-0.3.36"
    packed = archive(
        tmp_path / "source.tar.gz",
        {
            f"{top}/vendor/llama.cpp/include/llama.h": b"header",
            f"{top}/vendor/llama.cpp/docs/long.md": b"not needed",
            f"{top}/vendor/other/file": b"not llama.cpp",
            f"{top}/setup.py": b"not run",
            f"{top}/vendor/llama.cpp/../../../../escaped": b"planted",
        },
    )
    into = tmp_path / "unpacked"
    llama_cpp_source.unpack(packed, into, lambda name: name != "docs", "include/llama.h")
    assert [path.relative_to(into) for path in into.rglob("*") if path.is_file()] == [
        Path("vendor/llama.cpp/include/llama.h")
    ]
    assert not list(tmp_path.rglob("escaped"))


def test_an_archive_without_llama_is_refused(tmp_path: Path) -> None:
    packed = archive(tmp_path / "source.tar.gz", {"other-1.0/vendor/llama.cpp/README.md": b"nothing"})
    with pytest.raises(SourceError, match="holds no"):
        llama_cpp_source.unpack(packed, tmp_path / "unpacked", lambda name: True, "include/llama.h")
    assert not (tmp_path / "unpacked").exists()


def test_without_an_index_it_says_so(
    cache_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(BuildFailure, match="is there a network"):
        source.fetch()
    assert list((cache_root / "source").iterdir()) == [], "nothing half-made stays"


def test_what_is_unpacked_is_not_fetched_again(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    kept = cache_root / "source" / llama_cpp_source.folder_name()
    (kept / "vendor" / "llama.cpp").mkdir(parents=True)
    assert source.fetch() == kept / "vendor" / "llama.cpp"
