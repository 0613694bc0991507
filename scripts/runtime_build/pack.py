"""The pack itself: a folder of libraries and the manifest that names and hashes them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from runtime_build import source
from runtime_build.failure import BuildFailure
from runtime_build.hashing import sha256_of
from runtime_build.inputs import FLAGS, BuildInputs

MANIFEST = "manifest.json"
FORMAT = 1


def library_name(name: str) -> str:
    """A shared library's file name on this platform."""
    if sys.platform == "win32":
        return f"{name}.dll"
    return f"lib{name}.dylib" if sys.platform == "darwin" else f"lib{name}.so"


def module_name(name: str) -> str:
    """A CPU module's file name: CMake's MODULE libraries end in .so on macOS too."""
    return f"ggml-cpu-{name}.dll" if sys.platform == "win32" else f"libggml-cpu-{name}.so"


def is_right(directory: Path, build_ids: set[str]) -> bool:
    """Whether the folder holds a whole pack of one of these ids, with nothing changed, missing or added. A
    pack for GPUs is one for the processor too.
    """
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, object]] = manifest["files"]
        return (
            {manifest["build_id"], manifest.get("without_gpu")} & build_ids != set()
            and {path.name for path in directory.iterdir()} == {*files, MANIFEST}
            and all(sha256_of(directory / name) == file["sha256"] for name, file in files.items())
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def assemble(built: Path, inputs: BuildInputs, into: Path, gpu_module: Path | None = None) -> None:
    """Copies the libraries out of the build folder, and the module for GPUs, writes the manifest, and puts
    the whole in place at once."""
    names = [library_name(name) for name in ("llama", "ggml", "ggml-base", "tabagent_shim")]
    names += [module_name(name) for name in inputs.names]
    with tempfile.TemporaryDirectory(dir=into.parent, prefix="packing-") as temporary:
        pack = Path(temporary, "pack")
        pack.mkdir()
        for name in names:
            if not (built / name).is_file():
                raise BuildFailure(f"the build did not make {name}")
            shutil.copyfile(built / name, pack / name)
        if gpu_module is not None:
            names.append(gpu_module.name)
            shutil.copyfile(gpu_module, pack / gpu_module.name)
        text = json.dumps(manifest(inputs, pack, names), indent=2) + "\n"
        (pack / MANIFEST).write_text(text, encoding="utf-8")
        replace(pack, into)


def manifest(inputs: BuildInputs, pack: Path, names: list[str]) -> dict[str, object]:
    return {
        "format": FORMAT,
        "build_id": inputs.build_id,
        "source": f"{source.PACKAGE} {source.VERSION}",
        "llama_version": source.LLAMA_VERSION,
        "ggml_version": source.GGML_VERSION,
        "platform": inputs.platform,
        "variants": inputs.variants,
        "build_flags": FLAGS,
        "compiler": inputs.toolchain.compiler,
        "library": library_name("llama"),
        "shim": library_name("tabagent_shim"),
        "cpu_modules": [
            {"name": name, "file": module_name(name), "features": inputs.modules.features[name]}
            for name in inputs.names
        ],
        **gpu_part(inputs),
        "files": {
            name: {"bytes": (pack / name).stat().st_size, "sha256": sha256_of(pack / name)}
            for name in sorted(names)
        },
    }


def gpu_part(inputs: BuildInputs) -> dict[str, object]:
    """What a manifest says of GPUs; nothing in a pack without a module for them."""
    if inputs.cuda is None:
        return {}
    without = dataclasses.replace(inputs, cuda=None)
    return {"gpu_modules": [inputs.cuda.described], "without_gpu": without.build_id}


def install(pack: Path, into: Path) -> None:
    """Puts a pack's files into a folder, in place of whatever was there: as hard links where the disk
    allows it."""
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".installing-") as temporary:
        new = Path(temporary, "pack")
        new.mkdir()
        for path in pack.iterdir():
            link_or_copy(path, new / path.name)
        replace(new, into)


def link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def replace(new: Path, into: Path) -> None:
    """Renames `new` to `into`. What was there is moved aside (beside `new`) first, and put back if the
    renaming fails."""
    if not into.exists():
        new.rename(into)
        return
    old = new.with_name("old")
    into.rename(old)
    try:
        new.rename(into)
    except OSError:
        old.rename(into)
        raise
