"""The peers: llama.cpp's own programs, built by our script from the same sources, and Python packages in an
environment of their own."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.models import ROOT

BUILD = ROOT / "scripts" / "build_runtime.py"
IN_PROCESS = Path(__file__).resolve().parent / "in_process"
PYTHON_VARIABLE = "TABAGENT_PEERS_PYTHON"
INSTALL = f"""
The peers in process need a Python of their own. Make one, and name it in ${PYTHON_VARIABLE}:
    python3 -m venv peers
    CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" peers/bin/pip install llama-cpp-python==0.3.36 xllamacpp
    export {PYTHON_VARIABLE}=$PWD/peers/bin/python
(llama-cpp-python comes without a llama.cpp of its own and opens our runtime pack.)"""


@functools.cache
def tool(name: str) -> Path:
    """One of llama.cpp's programs. The first call of all builds them, which takes minutes."""
    command = [sys.executable, str(BUILD), "--tools"]
    folder = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return Path(folder) / name


def llama_bench(model: Path, threads: int, *, prompt: int = 0, generate: int = 0) -> float:
    """Tokens a second of prefilling (`prompt`) or decoding (`generate`), as llama-bench measures it."""
    command = [str(tool("llama-bench")), "-m", str(model), "-t", str(threads), "-r", "1", "-o", "json"]
    command += ["-p", str(prompt), "-n", str(generate)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(printed)[0]["avg_ts"])


def in_process(name: str, **question: object) -> dict[str, Any]:
    """What `in_process/decode_with_NAME.py` answers in the peers' Python.

    Says how to get one where there is none.
    """
    python = os.environ.get(PYTHON_VARIABLE)
    if python is None:
        raise SystemExit(INSTALL)
    runtime = ROOT / "model-bindings" / "python" / "tabagent_model" / "runtime"
    environ = {**os.environ, "LLAMA_CPP_LIB_PATH": str(runtime)}
    environ.pop("PYTHONPATH", None)
    command = [python, str(IN_PROCESS / f"decode_with_{name}.py"), json.dumps(question)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ)
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer
