"""The programs that a build needs: a C++ compiler, cmake and ninja."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime_build.failure import BuildFailure

OLDEST_CMAKE = (3, 19)


@dataclass(frozen=True)
class Toolchain:
    """Where the programs are, and what the compiler is."""

    c_compiler: str
    cxx_compiler: str
    compiler: str  # as "gcc 12.2.0"
    cmake: str
    ninja: str

    @staticmethod
    def find() -> Toolchain:
        """Looks in $CC and $CXX, beside this Python (PyPI's cmake and ninja) and on the PATH."""
        cxx = find_program(os.environ.get("CXX") or "c++", "g++", "clang++")
        if cxx is None:
            raise BuildFailure("no C++ compiler found; on Debian or Ubuntu: sudo apt-get install g++")
        c = find_program(os.environ.get("CC") or "cc", "gcc", "clang")
        if c is None:
            raise BuildFailure("no C compiler found; on Debian or Ubuntu: sudo apt-get install gcc")
        cmake = find_program("cmake")
        ninja = find_program("ninja", "ninja-build")
        if cmake is None or ninja is None:
            missing = " and ".join(
                name for name, found in (("cmake", cmake), ("ninja", ninja)) if found is None
            )
            raise BuildFailure(
                f"{missing} not found; {sys.executable} -m pip install cmake ninja brings both"
            )
        if cmake_version(cmake) < OLDEST_CMAKE:
            raise BuildFailure(
                f"{cmake} is too old (3.19 or newer is needed); {sys.executable} -m pip install cmake"
            )
        return Toolchain(c, cxx, compiler_name(cxx), cmake, ninja)


def find_program(*names: str) -> str | None:
    """The first of the names that is there: beside this Python first, so that a virtual environment's own
    is taken."""
    beside = str(Path(sys.executable).parent)
    for name in names:
        found = shutil.which(name, path=beside) or shutil.which(name)
        if found:
            return str(Path(found).absolute())
    return None


def compiler_name(compiler: str) -> str:
    """Kind and full version, as `gcc 12.2.0` or `clang 19.1.7`."""
    text = run(compiler, "--version")
    kind = "clang" if "clang" in text else "gcc"
    version = re.search(
        r"\d+\.\d+\.\d+", run(compiler, "-dumpfullversion", "-dumpversion") if kind == "gcc" else text
    )
    if version is None:
        raise BuildFailure(f"{compiler} does not tell its version")
    return f"{kind} {version.group()}"


def cmake_version(cmake: str) -> tuple[int, ...]:
    version = re.search(r"(\d+)\.(\d+)", run(cmake, "--version"))
    return tuple(int(part) for part in version.groups()) if version else (0, 0)


def run(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildFailure(f"{command[0]} does not run: {error}") from error
