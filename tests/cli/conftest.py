"""The program as a user runs it: real processes, a home of its own, a real model of random weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, half a megabyte: it talks nonsense, by the same code as any other."""
    file = tmp_path_factory.mktemp("model") / "tiny.gguf"
    script = ROOT / "scripts" / "make_random_model.py"
    subprocess.run([sys.executable, script, file, "--preset", "tiny", "--seed", "1"], check=True)
    return file


@pytest.fixture(scope="session")
def models_json(tiny_gguf: Path) -> Path:
    """A registry of which that model is the default."""
    file = tiny_gguf.with_name("models.json")
    entry = {"type": "gguf", "path": str(tiny_gguf), "format": "gguf"}
    file.write_text(json.dumps({"models": {"tiny": entry}, "default": "tiny"}))
    return file


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """This process's environment with a home, a runtime folder and a configuration of its own."""
    (tmp_path / "run").mkdir(mode=0o700)
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TABAGENT_RUNTIME_DIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
    }


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Run:
    """Run `native-host` with these arguments to its end."""

    def run_program(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "native_host", *map(str, arguments)]
        return subprocess.run(
            command, input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    return run_program


@contextmanager
def daemon(environment: dict[str, str], models: Path, *options: str) -> Iterator[Path]:
    """`native-host serve` at its default place, until the context ends; gives the socket."""
    command = [sys.executable, "-m", "native_host", "serve", "--json", "--models", str(models), *options]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        try:
            yield Path(json.loads(process.stdout.readline())["socket"])
        finally:
            process.terminate()
