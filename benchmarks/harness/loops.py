"""The plain loops as children, and the folders that they and our host open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.models import ROOT

BENCHMARKS = ROOT / "benchmarks"
NAMES = {"safetensors": "with_transformers", "onnx": "with_onnxruntime"}
"""The loop that a format is measured against."""


class Loop:
    """One of `plain/`'s programs, which loads its model before it hears the first question."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def arrivals(self, prompts: list[list[int]], tokens: int) -> list[list[float]]:
        """For each prompt, one after the other, the seconds from now to each of its answer's tokens."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"prompts": prompts, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended without an answer")
        answered: list[list[float]] = json.loads(line)
        return answered


@contextmanager
def loop(format: str, folder: Path, threads: int) -> Iterator[Loop]:
    """A format's loop over the model in a folder."""
    command = [sys.executable, "-m", f"harness.plain.{NAMES[format]}", str(folder), str(threads)]
    path = os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])
    environ = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL  # libraries tell of their progress
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True, env=environ
    ) as process:
        yield Loop(process)
        assert process.stdin is not None
        process.stdin.close()


def derived(model: Path, format: str, folder: Path) -> Path:
    """What our host opens of a GGUF file in a format: the file itself, or a folder made of it, in float32."""
    if format == "gguf":
        return model
    script = ROOT / "scripts" / "derive_demo_model.py"
    command = [sys.executable, str(script), "--to", format, str(folder / format)]
    subprocess.run([*command, "--type", "f32", "--source", str(model)], check=True, stdout=subprocess.DEVNULL)
    return folder / format
