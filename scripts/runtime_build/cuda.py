"""The pack's module for NVIDIA's GPUs: ggml's CUDA backend, compiled by itself and kept under its own id, so
that the CPU modules stay as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime_build import cache, compiling, inputs, source
from runtime_build.failure import BuildFailure
from runtime_build.hashing import sha256_of
from runtime_build.toolchain import Toolchain, run

FILE = "libggml-cuda.so"
PROJECT = Path(__file__).resolve().parent / "cuda_project"
PACKAGES = ("nvcc", "crt", "cccl", "runtime")
"""Of PyPI's CUDA packages (nvidia-cuda-…), those that a build needs beside nvidia-nvvm and nvidia-cublas."""
FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_BACKEND_DL": "ON",
    "GGML_CPU": "OFF",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_CCACHE": "OFF",
    "GGML_CUDA": "ON",
    # It would be linked where it happens to be installed.
    "GGML_CUDA_NCCL": "OFF",
}
_ARCHITECTURES = re.compile(r"\d{2,3}[af]?(-real|-virtual)?(;\d{2,3}[af]?(-real|-virtual)?)*")


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit. `libraries` are where its linker finds the two that the module needs."""

    nvcc: Path
    version: str
    cudart: Path
    cublas: Path
    has_driver_stub: bool

    @property
    def root(self) -> Path:
        """The folder that holds bin, include and the libraries."""
        return self.nvcc.parent.parent

    @staticmethod
    def find() -> Toolkit:
        """The first toolkit that has an nvcc. Raises BuildFailure, with what is missing and how to get it."""
        nvcc = next((path for path in places_of_nvcc() if path.is_file() and os.access(path, os.X_OK)), None)
        if nvcc is None:
            raise BuildFailure(
                f"no nvcc found in $CUDACXX, $CUDA_PATH, beside this Python, on the PATH or in "
                f"/usr/local/cuda; {way_out()}"
            )
        root = nvcc.parent.parent
        for header in ("cuda_runtime.h", "cublas_v2.h"):
            if not [*root.glob(f"include/{header}"), *root.glob(f"targets/*/include/{header}")]:
                raise BuildFailure(f"{root} has no {header}; {way_out()}")
        cudart, cublas = (library(root, name) for name in ("cudart", "cublas"))
        version = re.search(r"release [\d.]+, V([\d.]+)", run(str(nvcc), "--version"))
        if version is None:
            raise BuildFailure(f"{nvcc} does not tell its version")
        stubs = [*root.glob("lib*/stubs/libcuda.so"), *root.glob("targets/*/lib/stubs/libcuda.so")]
        return Toolkit(nvcc, version.group(1), cudart, cublas, bool(stubs))


@dataclass(frozen=True)
class CudaInputs:
    """What the module is made from. `architectures` are in CMake's words (`86-real;90-virtual`); empty for
    those that ggml chooses, which run on every GPU that the toolkit knows.
    """

    toolkit: Toolkit
    toolchain: Toolchain
    architectures: str

    @property
    def settings(self) -> dict[str, str]:
        """CMake's, without what differs between machines for the same module."""
        chosen = {"CMAKE_CUDA_ARCHITECTURES": self.architectures} if self.architectures else {}
        # Toolkits from PyPI have no stub of the driver to link against; then memory is not mapped in pieces.
        return {**FLAGS, **chosen, "GGML_CUDA_NO_VMM": "OFF" if self.toolkit.has_driver_stub else "ON"}

    @property
    def build_id(self) -> str:
        """Same id, same module."""
        made_from = {
            "source": source.SHA256,
            "settings": self.settings,
            "compiler": self.toolchain.compiler,
            "toolkit": self.toolkit.version,
            "project": sha256_of(PROJECT / "CMakeLists.txt"),
        }
        return inputs.digest(made_from)[:16]

    @property
    def described(self) -> dict[str, str]:
        """The module as the pack's manifest tells of it."""
        return {
            "name": "cuda",
            "file": FILE,
            "toolkit": f"CUDA {self.toolkit.version}",
            "architectures": self.architectures or "the architectures that ggml chooses",
        }

    def configure_settings(self, sources: Path) -> dict[str, str]:
        """All that CMake is told."""
        toolkit = self.toolkit
        return {
            **self.settings,
            "LLAMA_CPP_SOURCE": str(sources),
            "CMAKE_C_COMPILER": self.toolchain.c_compiler,
            "CMAKE_CXX_COMPILER": self.toolchain.cxx_compiler,
            "CMAKE_CUDA_HOST_COMPILER": self.toolchain.cxx_compiler,
            "CMAKE_MAKE_PROGRAM": self.toolchain.ninja,
            "CMAKE_CUDA_COMPILER": str(toolkit.nvcc),
            "CUDAToolkit_ROOT": str(toolkit.root),
            # PyPI's libraries have versions in their names only, which CMake does not look for.
            "CUDA_CUDART": str(toolkit.cudart),
            "CUDA_cudart_LIBRARY": str(toolkit.cudart),
            "CUDA_cublas_LIBRARY": str(toolkit.cublas),
            "CMAKE_CUDA_FLAGS": f"-L{toolkit.cudart.parent}",
        }


def find(architectures: str) -> CudaInputs:
    """What is built with the toolkit that is here. Raises BuildFailure."""
    if sys.platform != "linux":
        raise BuildFailure("--cuda builds on Linux only")
    architectures = architectures.replace(",", ";")
    if architectures and _ARCHITECTURES.fullmatch(architectures) is None:
        raise BuildFailure(f"--cuda {architectures!r}: name architectures like 86 or 89-real,90-virtual")
    return CudaInputs(Toolkit.find(), Toolchain.find(), architectures)


def build(wanted: CudaInputs, jobs: int | None) -> Path:
    """The module, built where the cache has none of the same inputs. The caller holds the runtime's lock."""
    kept = cache.directory("cuda") / wanted.build_id / FILE
    if kept.is_file():
        return kept
    directory = cache.directory("build") / f"cuda-{wanted.build_id}"
    settings = wanted.configure_settings(source.fetch())
    compiling.run_cmake(wanted.toolchain, PROJECT, directory, settings)
    compiling.compile_targets(wanted.toolchain, directory, ["ggml-cuda"], "Compiling for GPUs", jobs)
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="packing-") as temporary:
        whole = Path(temporary, FILE)
        shutil.copyfile(directory / "bin" / FILE, whole)
        whole.replace(kept)
    return kept


def places_of_nvcc() -> Iterator[Path]:
    """Where an nvcc may be, in the order in which it is looked for."""
    if "CUDACXX" in os.environ:
        yield Path(os.environ["CUDACXX"]).absolute()
    for name in ("CUDA_PATH", "CUDA_HOME"):
        if name in os.environ:
            yield Path(os.environ[name], "bin", "nvcc").absolute()
    for folder in sys.path:
        yield from sorted(Path(folder).glob("nvidia/cu*/bin/nvcc"), reverse=True)
    on_path = shutil.which("nvcc")
    if on_path is not None:
        yield Path(on_path).resolve()
    yield Path("/usr/local/cuda/bin/nvcc")


def library(root: Path, name: str) -> Path:
    """One of a toolkit's shared libraries. Raises BuildFailure."""
    for pattern in ("lib64", "lib", "targets/*/lib"):
        found = sorted(root.glob(f"{pattern}/lib{name}.so*"))
        if found:
            return found[0]
    raise BuildFailure(f"{root} has no lib{name}; {way_out()}")


def way_out() -> str:
    """How to get a toolkit."""
    packages = " ".join([*(f"nvidia-cuda-{name}" for name in PACKAGES), "nvidia-nvvm", "nvidia-cublas"])
    return f"install NVIDIA's CUDA toolkit, or: {sys.executable} -m pip install {packages}"
