"""The real extension, the real runtime pack, and a tiny model of random weights made once a session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tabagent_model

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def library() -> str:
    """The libllama that suits this machine."""
    return tabagent_model.get_optimal_binary("llama.dll")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thousands of tokens a second; trained (as it says) for a context of 2,048."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    maker = ROOT / "scripts" / "make_random_model.py"
    subprocess.run([sys.executable, maker, path, "--preset", "tiny", "--seed", "1"], check=True)
    return path


@pytest.fixture(scope="session")
def model(library: str, tiny_model: Path) -> Iterator[tabagent_model.PyModel]:
    """The tiny model, loaded, with one thread: several would wait for each other longer than they compute."""
    with tabagent_model.PyModel() as model:
        model.load(library, tiny_model, threads=1)
        yield model
