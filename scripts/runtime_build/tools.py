"""llama.cpp's own programs, built with the pack's flags: the peers that our benchmarks are compared with."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from runtime_build import cache, compiling, modules, pack, source
from runtime_build.inputs import BuildInputs
from runtime_build.toolchain import Toolchain

PROGRAMS = ("llama-bench", "llama-batched-bench", "llama-server", "llama-cli")
SETTINGS = {
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    # The server's web page would be built by npm, or downloaded while compiling.
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}


def build(root: Path, jobs: int | None) -> Path:
    """The folder with the programs, built when it is missing. They find their libraries and CPU modules
    beside them."""
    toolchain = Toolchain.find()
    known = modules.find(root)
    inputs = BuildInputs(root, toolchain, known, known.native)
    kept = cache.directory("tools") / inputs.build_id
    with cache.lock("runtime", wait="another build is running; waiting for it"):
        if not all((kept / name).is_file() for name in PROGRAMS):
            compile_into(inputs, kept, jobs)
    return kept


def compile_into(inputs: BuildInputs, kept: Path, jobs: int | None) -> None:
    directory = cache.directory("build") / f"{inputs.objects_id}-tools"
    compiling.configure(inputs, source.fetch(), directory, SETTINGS)
    targets = ["tabagent_pack", *PROGRAMS]
    compiling.compile_targets(inputs.toolchain, directory, targets, "Compiling llama.cpp's programs", jobs)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="packing-") as temporary:
        new = Path(temporary, "tools")
        new.mkdir()
        for path in (directory / "bin").iterdir():
            if path.is_file():
                shutil.copy2(path, new / path.name)
        pack.replace(new, kept)
