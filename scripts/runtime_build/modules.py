"""ggml's CPU modules: which there are, what each needs of a processor, and which suits this machine.

The hardware crate knows; this asks it (`cpu-module`) and remembers the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime_build import cache
from runtime_build.failure import BuildFailure


@dataclass(frozen=True)
class Modules:
    """The modules of this platform, worst to best, each with the features that it needs (named as Rust names
    them), and the best that this machine can run."""

    features: dict[str, list[str]]
    best: str

    @property
    def every(self) -> tuple[str, ...]:
        return tuple(self.features)

    @property
    def native(self) -> tuple[str, ...]:
        """The plain module and the best one for this machine."""
        plain = self.every[0]
        return (plain,) if self.best == plain else (plain, self.best)


def architecture() -> str:
    """This machine's architecture as Rust names it."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def operating_system() -> str:
    """This system as Rust names it."""
    return {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)


def find(root: Path) -> Modules:
    """What the hardware crate says, remembered as long as the processor and the crate stay the same."""
    remembered = cache.directory("cpu-modules") / f"{question_key(root)}.json"
    try:
        known = json.loads(remembered.read_text(encoding="utf-8"))
        return Modules(features=known["features"], best=known["best"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    table = json.loads(ask_hardware(root, "--table"))
    if not table:
        raise BuildFailure(f"llama.cpp has no CPU modules for {operating_system()} on {platform.machine()}")
    modules = Modules({entry["name"]: entry["features"] for entry in table}, ask_hardware(root, "--best"))
    remembered.write_text(json.dumps({"features": modules.features, "best": modules.best}), encoding="utf-8")
    return modules


def question_key(root: Path) -> str:
    """Changes when the answer could."""
    digest = hashlib.sha256(processor().encode())
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


def ask_hardware(root: Path, question: str) -> str:
    """What the hardware crate's `cpu-module` answers; cargo's own progress is what the user sees."""
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise BuildFailure("cargo not found: install Rust with rustup (rustup.rs)")
    command = [cargo, "run", "--release", "-p", "tabagent-hardware", "--bin", "cpu-module", "--", question]
    environment = {**os.environ, "PATH": f"{Path(cargo).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    result = subprocess.run(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if result.returncode != 0:
        raise BuildFailure("the hardware crate could not tell the CPU modules; its own words are above")
    return result.stdout.strip()
