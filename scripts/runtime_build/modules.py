"""ggml's CPU modules: which there are, what each needs of a processor, and which suits this machine.

The names and their flags are those of `ggml/src/CMakeLists.txt` (ggml_add_cpu_backend_variant); the order,
worst to best, is that of the scores in `ggml/src/ggml-cpu/arch/*/cpu-feats.cpp`. Features are named as Rust
names them.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from runtime_build import cache
from runtime_build.failure import BuildFailure

Table = dict[str, tuple[str, ...]]

AVX = ("sse4.2", "avx")
AVX2 = (*AVX, "f16c", "fma", "avx2", "bmi2")
AVX512 = (*AVX2, "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl")

X86: Table = {
    "x64": (),
    "sse42": ("sse4.2",),
    "sandybridge": AVX,
    "ivybridge": (*AVX, "f16c"),
    "piledriver": (*AVX, "f16c", "fma"),
    "haswell": AVX2,
    "alderlake": (*AVX2, "avxvnni"),
    "skylakex": AVX512,
    "cannonlake": (*AVX512, "avx512vbmi"),
    "cascadelake": (*AVX512, "avx512vnni"),
    "icelake": (*AVX512, "avx512vbmi", "avx512vnni"),
    "cooperlake": (*AVX512, "avx512vnni", "avx512bf16"),
    "zen4": (*AVX512, "avx512vbmi", "avx512vnni", "avx512bf16"),
    "sapphirerapids": (*AVX512, "avx512vbmi", "avx512vnni", "avx512bf16", "amx-tile", "amx-int8"),
}

ARM_LINUX: Table = {
    "armv8.0_1": (),
    "armv8.2_1": ("dotprod",),
    "armv8.2_2": ("dotprod", "fp16"),
    "armv8.2_3": ("dotprod", "fp16", "sve"),
    "armv8.6_1": ("dotprod", "fp16", "sve", "i8mm"),
    "armv8.6_2": ("dotprod", "fp16", "sve", "i8mm", "sve2"),
    "armv9.2_1": ("dotprod", "fp16", "sve", "i8mm", "sme"),
    "armv9.2_2": ("dotprod", "fp16", "sve", "i8mm", "sve2", "sme"),
}

ARM_APPLE: Table = {
    "apple_m1": ("dotprod",),
    "apple_m2_m3": ("dotprod", "i8mm"),
    "apple_m4": ("dotprod", "i8mm", "sme"),
}


def architecture() -> str:
    """This machine's architecture as Rust names it."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def operating_system() -> str:
    """This system as Rust names it."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


def table() -> Table:
    """The modules of this platform, worst to best, each with the features that it needs."""
    if architecture() == "x86_64":
        return X86
    if architecture() == "aarch64":
        return ARM_APPLE if sys.platform == "darwin" else ARM_LINUX
    raise BuildFailure(f"llama.cpp has no CPU modules for {operating_system()} on {platform.machine()}")


def native(root: Path, modules: Table) -> tuple[str, ...]:
    """The plain module and the best one for this machine, as the hardware crate chooses it."""
    plain = next(iter(modules))
    best = best_module(root, modules)
    return (plain,) if best == plain else (plain, best)


def best_module(root: Path, modules: Table) -> str:
    """The hardware crate's choice, remembered as long as the processor, the table and the crate stay the
    same."""
    remembered = cache.directory("native-module") / f"{choice_key(root, modules)}.json"
    try:
        name = json.loads(remembered.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        name = None
    if name not in modules:
        name = ask_hardware(root, modules)
        remembered.write_text(json.dumps(name), encoding="utf-8")
    return str(name)


def choice_key(root: Path, modules: Table) -> str:
    digest = hashlib.sha256(repr(list(modules.items())).encode())
    digest.update(processor().encode())
    for path in sorted((root / "hardware").rglob("*.rs")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def processor() -> str:
    """What tells one processor, as the system shows it, from another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    telling = ("flags", "features", "model name", "cpu family", "model\t", "stepping", "cpu part")
    return "\n".join(sorted({line for line in lines if line.lower().startswith(telling)}))


def ask_hardware(root: Path, modules: Table) -> str:
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise BuildFailure("cargo not found: install Rust with rustup (rustup.rs)")
    command = [cargo, "run", "--quiet", "--release", "-p", "tabagent-hardware", "--bin", "cpu-module", "--"]
    command += [f"{name}={','.join(features)}" for name, features in modules.items()]
    environment = {**os.environ, "PATH": f"{Path(cargo).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    result = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    name = result.stdout.strip()
    if result.returncode != 0 or name not in modules:
        raise BuildFailure("the hardware crate could not choose a CPU module; its own words are above")
    return name
