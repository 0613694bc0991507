"""The models that are measured: a user's own file, or random weights in a real model's shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYNTHETIC = {
    "135m": ("135m", "q8_0"),
    "135m-f16": ("135m", "f16"),
    "0.5b": ("0.5b", "q4_0"),
    "tiny": ("tiny", "f16"),
}
"""Presets of scripts/make_random_model.py, and how their matrices are stored."""
BUILTIN = ROOT / "native_host" / "models" / "builtin" / "tabagent-demo.gguf"


def chosen_model(name: str) -> Path:
    """Those of random weights are made once and kept in the cache, `builtin` comes with the host, all else is
    a file.
    """
    if name in SYNTHETIC:
        return synthetic(name)
    return BUILTIN if name == "builtin" else Path(name).absolute()


def synthetic(name: str, *, recites: bool = False) -> Path:
    """Random weights; with `recites` its greedy answers are known beforehand (scripts/recital.py)."""
    command = [sys.executable, str(ROOT / "scripts" / "make_random_model.py"), "--cached"]
    preset, stored = SYNTHETIC[name]
    command += ["--preset", preset, "--type", stored, *(["--recites"] if recites else [])]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def prompt(who: int, length: int) -> list[int]:
    """Token ids that share no beginning with another `who`'s, and that every vocabulary here has."""
    return [300 + (who * 7919 + i * 31 + i * i * 7) % 1700 for i in range(length)]
