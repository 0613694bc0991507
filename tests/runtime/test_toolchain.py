"""What is missing is said in one clear line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from runtime_build.failure import BuildFailure
from runtime_build.toolchain import Toolchain, compiler_name


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing on it, and a Python with nothing beside it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    return folder


def program(folder: Path, name: str, prints: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    path.chmod(0o755)


def failure() -> str:
    with pytest.raises(BuildFailure) as caught:
        Toolchain.find()
    return str(caught.value)


def test_each_missing_program_is_named(empty: Path) -> None:
    assert failure().startswith("no C++ compiler found")
    program(empty, "c++", "g++ 12.2.0")
    assert failure().startswith("no C compiler found")
    program(empty, "cc", "gcc 12.2.0")
    assert failure().startswith("cmake and ninja not found")
    program(empty, "cmake", "cmake version 3.25.1")
    assert failure().startswith("ninja not found")
    program(empty, "ninja", "1.11.1")
    found = Toolchain.find()
    assert (found.cxx_compiler, found.compiler) == (str(empty / "c++"), "gcc 12.2.0")


def test_an_old_cmake_is_refused(empty: Path) -> None:
    for name in ("c++", "cc", "ninja"):
        program(empty, name, "gcc 12.2.0")
    program(empty, "cmake", "cmake version 3.18.4")
    assert "is too old" in failure()


def test_compilers_are_told_apart(empty: Path) -> None:
    program(empty, "clang++", "Debian clang version 19.1.7 (3)")
    assert compiler_name(str(empty / "clang++")) == "clang 19.1.7"
    program(empty, "odd", "a compiler without a number")
    with pytest.raises(BuildFailure, match="does not tell its version"):
        compiler_name(str(empty / "odd"))


def test_a_compiler_that_does_not_run_is_named(empty: Path) -> None:
    with pytest.raises(BuildFailure, match="does not run"):
        compiler_name(str(empty / "absent"))
