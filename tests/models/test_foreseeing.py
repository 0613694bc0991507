"""What the manager reckons with before it loads a model, with real planning processes."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from native_host.models import foreseeing
from native_host.models.estimate import estimate
from native_host.models.foreseeing import Foreseer
from native_host.models.memory import predict_by_size
from native_host.models.registry import BUILTIN_FILE
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadOptions

NEAR = 1 << 22
"""A process measures its own libraries, of which it shares more or less with others."""


def spec_of(file: Path) -> ModelSpec:
    return ModelSpec("m", ModelEntry(path=str(file)), "gguf", file)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(BUILTIN_FILE, tmp_path / "model.gguf"))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "estimates.json"


async def test_it_is_the_estimate_s_total(model: Path, kept: Path) -> None:
    found = await Foreseer(kept).predict(spec_of(model), LoadOptions())
    assert abs(found - (await estimate(model, LoadOptions())).total_bytes) < NEAR


async def test_it_is_planned_once_for_all_hosts_until_the_file_or_the_options_change(
    model: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = []

    async def counted(spec: ModelSpec, options: LoadOptions) -> object:
        planned.append(options)
        return await estimate(spec, options)

    monkeypatch.setattr(foreseeing, "estimate", counted)
    first = await Foreseer(kept).predict(spec_of(model), LoadOptions())
    assert await Foreseer(kept).predict(spec_of(model), LoadOptions()) == first
    assert len(planned) == 1
    more = await Foreseer(kept).predict(spec_of(model), LoadOptions(kv_cache_tokens=16384))
    assert more > first + 20_000_000
    os.utime(model, ns=(1, 1))
    await Foreseer(kept).predict(spec_of(model), LoadOptions())
    assert len(planned) == 3


@pytest.fixture(params=[b"", b"[1]", b"{"])
def unreadable(request: pytest.FixtureRequest, kept: Path) -> Path:
    kept.parent.mkdir()
    kept.write_bytes(request.param)
    return kept


async def test_what_was_kept_and_cannot_be_read_is_made_anew(model: Path, unreadable: Path) -> None:
    assert await Foreseer(unreadable).predict(spec_of(model), LoadOptions()) > BUILTIN_FILE.stat().st_size


async def test_a_cache_that_cannot_be_written_is_done_without(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = tmp_path / "file" / "estimates.json"
    assert await Foreseer(kept).predict(spec_of(model), LoadOptions()) > BUILTIN_FILE.stat().st_size


async def test_options_that_the_engine_refuses_are_refused(model: Path, kept: Path) -> None:
    with pytest.raises(RpcError) as caught:
        await Foreseer(kept).predict(spec_of(model), LoadOptions(context_length=2_000_000_000))
    assert caught.value.kind == "invalid_params"


async def test_a_file_that_cannot_be_planned_is_taken_by_its_size(tmp_path: Path, kept: Path) -> None:
    file = tmp_path / "text.gguf"
    file.write_text("this is not a model" * 100)
    spec = spec_of(file)
    assert await Foreseer(kept).predict(spec, LoadOptions()) == await predict_by_size(spec, LoadOptions())
    assert not await asyncio.to_thread(kept.exists)
