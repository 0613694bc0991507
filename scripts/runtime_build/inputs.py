"""Everything that a pack is made from, and the id that follows from it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime_build import modules, patching, source
from runtime_build.modules import Modules
from runtime_build.toolchain import Toolchain

if TYPE_CHECKING:
    from runtime_build.cuda import CudaInputs

# Raise it when the same inputs would give another pack.
SCRIPT_VERSION = 2

FLAGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "GGML_BACKEND_DL": "ON",
    "GGML_CPU_ALL_VARIANTS": "ON",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "LLAMA_BUILD_COMMON": "OFF",
    "LLAMA_BUILD_TOOLS": "OFF",
    "LLAMA_BUILD_SERVER": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_OPENSSL": "OFF",
    # llama.cpp would ask git, which answers for whatever repository the cache happens to lie in.
    "LLAMA_BUILD_NUMBER": "0",
    "LLAMA_BUILD_COMMIT": f"{source.PACKAGE}-{source.VERSION}",
    "GGML_CCACHE": "OFF",
}


@dataclass(frozen=True)
class BuildInputs:
    """What a pack is made from. `names` are those of its CPU modules, worst to best; `cuda` is for one that
    computes on NVIDIA's GPUs too.
    """

    root: Path
    toolchain: Toolchain
    modules: Modules
    names: tuple[str, ...]
    cuda: CudaInputs | None = None

    @property
    def shim(self) -> Path:
        """The folder of the shim and of the CMake project that builds everything."""
        return self.root / "rust" / "llama" / "shim"

    @property
    def variants(self) -> str:
        return "all" if self.names == self.modules.every else "native"

    @property
    def platform(self) -> str:
        return f"{modules.operating_system()}-{modules.architecture()}"

    @property
    def objects_id(self) -> str:
        """Same id, same object files: builds of other modules or another shim go on from those of this
        one."""
        return digest(self.common())[:16]

    @property
    def build_id(self) -> str:
        """Same id, same pack."""
        shim = {
            path.name: path.read_text(encoding="utf-8")
            for path in sorted(self.shim.iterdir())
            if path.is_file()
        }
        features = {name: self.modules.features[name] for name in self.names}
        own = {"shim": shim, "changes": patching.CHANGES, "modules": features, "script": SCRIPT_VERSION}
        gpu = {} if self.cuda is None else {"cuda": self.cuda.build_id}
        return digest({**self.common(), **own, **gpu})[:16]

    def common(self) -> dict[str, object]:
        return {
            "source": source.SHA256,
            "flags": FLAGS,
            "compiler": self.toolchain.compiler,
            "platform": self.platform,
        }


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
