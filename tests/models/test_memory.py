"""What a model is foreseen to need where only its size is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.models import backends
from native_host.models.memory import MIB, WORKER_BYTES, machine_leftover, predict_by_size, worker_bytes
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.workers.messages import LoadOptions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"\0" * MIB)
    return tmp_path


async def test_a_file_s_size_and_the_process_around_it(folder: Path) -> None:
    file = folder / "model.safetensors"
    spec = ModelSpec("m", ModelEntry(path=str(file)), "gguf", file)
    assert await predict_by_size(spec, LoadOptions()) == MIB + WORKER_BYTES


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        (LoadOptions(), MIB),
        (LoadOptions(quantization="4bit"), int(MIB * 0.35)),
        (LoadOptions(quantization="8bit"), int(MIB * 0.6)),
        (LoadOptions(max_memory=1000), 1000),
        (LoadOptions(max_memory={"cpu": 1000, "cuda:0": 24}), 1024),
    ],
)
async def test_quantization_and_max_memory_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: LoadOptions, weights: int
) -> None:
    kind = backends.BackendKind("transformers", "safetensors")
    monkeypatch.setitem(backends.BACKENDS, "transformers", kind)
    spec = ModelSpec("m", ModelEntry(path=str(folder)), "safetensors", folder)
    assert await predict_by_size(spec, options) == weights + worker_bytes(spec)


def test_the_machine_has_something_left() -> None:
    assert machine_leftover() > 0
