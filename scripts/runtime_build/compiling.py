"""Configures and compiles with cmake and ninja."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from runtime_build import cache, patching
from runtime_build.failure import BuildFailure
from runtime_build.inputs import FLAGS, BuildInputs
from runtime_build.progress import Progress
from runtime_build.toolchain import Toolchain

# The largest files of llama.cpp take about this much of a compiler.
BYTES_PER_JOB = 1_500_000_000
LINES_OF_A_FAILURE = 30


def build(inputs: BuildInputs, sources: Path, jobs: int | None) -> Path:
    """Compiles what the pack holds and answers the folder with the libraries."""
    directory = cache.directory("build") / inputs.objects_id
    made = {patching.PATCHED: patching.patched_ops(sources)}
    configure(inputs, sources, directory, {}, made)
    compile_targets(inputs.toolchain, directory, ["tabagent_pack"], "Compiling the runtime", jobs)
    return directory / "bin"


def configure(
    inputs: BuildInputs,
    sources: Path,
    directory: Path,
    extra: dict[str, str],
    made: Mapping[str, bytes] = MappingProxyType({}),
) -> None:
    """`extra` are settings of cmake's; `made` are files by their names that are put beside the shim's."""
    project = directory / "project"
    project.mkdir(parents=True, exist_ok=True)
    copy_changed(inputs.shim, project, made)
    toolchain = inputs.toolchain
    settings = {
        **FLAGS,
        "CMAKE_C_COMPILER": toolchain.c_compiler,
        "CMAKE_CXX_COMPILER": toolchain.cxx_compiler,
        "CMAKE_MAKE_PROGRAM": toolchain.ninja,
        "LLAMA_CPP_SOURCE": str(sources),
        "TABAGENT_CPU_MODULES": ";".join(inputs.names),
        **extra,
    }
    run_cmake(toolchain, project, directory, settings)


def run_cmake(toolchain: Toolchain, project: Path, directory: Path, settings: Mapping[str, str]) -> None:
    """Configures a project in a folder of its own. Raises BuildFailure."""
    directory.mkdir(parents=True, exist_ok=True)
    # Everything is said anew, and CMake refuses a cache that another checkout configured.
    (directory / "CMakeCache.txt").unlink(missing_ok=True)
    command = [toolchain.cmake, "-S", str(project), "-B", str(directory), "-G", "Ninja"]
    command += [f"-D{name}={value}" for name, value in settings.items()]
    log = directory / "configure.log"
    with log.open("w", encoding="utf-8") as file:
        result = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise BuildFailure(failed("cmake could not configure the build", lines[-LINES_OF_A_FAILURE:], log))


def copy_changed(source: Path, into: Path, made: Mapping[str, bytes] = MappingProxyType({})) -> None:
    """Makes `into` hold the files of `source`, and those that were `made`. Those that are right stay as they
    are, and so do the objects made from them: checkouts share their builds."""
    into.mkdir(exist_ok=True)
    files = {path.name: path.read_bytes() for path in source.iterdir() if path.is_file()} | dict(made)
    for path in into.iterdir():
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        copy = into / name
        if not copy.exists() or copy.read_bytes() != content:
            copy.write_bytes(content)


def compile_targets(
    toolchain: Toolchain, directory: Path, targets: list[str], what: str, jobs: int | None
) -> None:
    """Builds targets in a folder that was configured. Raises BuildFailure."""
    command = [toolchain.ninja, "-C", str(directory), "-j", str(jobs or default_jobs()), *targets]
    environment = {key: value for key, value in os.environ.items() if key != "NINJA_STATUS"}
    log = directory / "build.log"
    progress = Progress(what)
    last: deque[str] = deque(maxlen=LINES_OF_A_FAILURE)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as ninja,
    ):
        assert ninja.stdout is not None
        for line in ninja.stdout:
            file.write(line)
            last.append(line.rstrip("\n"))
            progress.line(line.rstrip("\n"))
    progress.finish()
    if ninja.returncode != 0:
        raise BuildFailure(failed("the compiler failed", list(last), log))


def failed(what: str, lines: list[str], log: Path) -> str:
    return "\n".join([f"{what}; the end of {log}:", *(f"  {line}" for line in lines)])


def default_jobs() -> int:
    """As many compilers as there are cores for, and memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, available_memory() // BYTES_PER_JOB))


def available_memory() -> int:
    """Bytes of memory that are there; where the system does not tell it easily, enough."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return 1 << 40
