"""Real models for real hosts: tiny ones of random weights, made once a session."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from native_host.client import Host

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))  # for what the model scripts share
MAKER = ROOT / "scripts" / "make_random_model.py"


def make_model(path: Path, preset: str) -> Path:
    """A GGUF file of random weights."""
    subprocess.run([sys.executable, MAKER, path, "--preset", preset, "--seed", "1"], check=True)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models of this session lie."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def tiny_model(folder: Path) -> Path:
    """Thousands of tokens a second, a context of 2,048."""
    return make_model(folder / "tiny.gguf", "tiny")


@pytest.fixture(scope="session")
def slow_model(folder: Path) -> Path:
    """Slow enough to be caught in the middle of something: 135M parameters, unquantized."""
    return make_model(folder / "slow.gguf", "135m")


@pytest.fixture(scope="session")
def models_file(folder: Path, tiny_model: Path) -> Path:
    """A `models.json` whose default is the tiny model. `slow.gguf` is there for those who ask for
    slow_model.
    """
    broken = {
        "truncated.gguf": tiny_model.read_bytes()[:-1000],
        "text.gguf": b"this is a text, not a model\n" * 100,
        "magic.gguf": b"GGML" + tiny_model.read_bytes()[4:],
        "counts.gguf": tiny_model.read_bytes()[:8] + b"\xff" * 16 + tiny_model.read_bytes()[24:],
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    (folder / "folder.gguf").mkdir()
    names = ["tiny", "slow", "absent", "folder", *(Path(name).stem for name in broken)]
    # One thread each: several spin while they wait for each other, which starves a machine that is busy.
    models: dict[str, dict[str, object]] = {
        name: {"type": "gguf", "path": f"{name}.gguf", "threads": 1} for name in names
    }
    models["tensors"] = {"type": "transformers", "path": "owner/name", "format": "safetensor"}
    models["tiny-other"] = {"type": "gguf", "path": "tiny.gguf", "threads": 1, "aliases": ["another"]}
    models["cramped"] = {"type": "gguf", "path": "tiny.gguf", "threads": 1, "kv_cache_tokens": 512}
    file = folder / "models.json"
    file.write_text(json.dumps({"default": "tiny", "models": models}))
    return file


@pytest.fixture
def host(models_file: Path) -> Iterator[Host]:
    """A host of this test's own, as a child on stdio."""
    with Host.spawn(models=models_file) as host:
        yield host


@pytest.fixture
def daemon(models_file: Path, tmp_path: Path) -> Iterator[Path]:
    """The socket of a daemon of this test's own."""
    path = tmp_path / "host.sock"
    command = [sys.executable, "-m", "native_host", "serve", "--json", "--socket", str(path)]
    command += ["--models", str(models_file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it says where it listens once it does
        yield path
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def socket_host(daemon: Path) -> Iterator[Host]:
    """The daemon, through the client."""
    with Host.connect(daemon) as host:
        yield host
