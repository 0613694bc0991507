"""Memory estimates, each made by a real process that plans the model."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from native_host.models.estimate import Estimate, estimate
from native_host.models.registry import BUILTIN_FILE
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadOptions

BUILTIN_BYTES = BUILTIN_FILE.stat().st_size


async def builtin(**options: object) -> Estimate:
    return await estimate(BUILTIN_FILE, LoadOptions(**options))  # type: ignore[arg-type]  # keywords of its own


async def test_weights_are_the_file_and_what_the_processor_s_module_packs_anew() -> None:
    made = await builtin()
    assert 1.0 <= made.weights_bytes / BUILTIN_BYTES < 2.1
    parts = made.weights_bytes + made.kv_bytes + made.compute_bytes
    assert made.total_bytes == parts + made.worker_bytes + made.spill_bytes


async def test_what_leaves_the_kv_cache_is_foreseen_as_far_as_it_may() -> None:
    none, some, usual = await asyncio.gather(builtin(spill_bytes=0), builtin(spill_bytes=5000), builtin())
    assert (none.spill_bytes, some.spill_bytes) == (0, 5000)
    assert usual.spill_bytes == 0


async def test_it_says_whether_answers_can_outlast_their_context(minilm: Path) -> None:
    assert (await builtin()).context_shift
    assert not (await estimate(minilm, LoadOptions())).context_shift


async def test_the_kv_cache_grows_with_its_cells_and_shrinks_with_its_type() -> None:
    small, large, precise = await asyncio.gather(
        builtin(kv_cache_tokens=1024),
        builtin(kv_cache_tokens=4096),
        builtin(kv_cache_tokens=1024, kv_type="f32"),
    )
    assert small.weights_bytes == large.weights_bytes == precise.weights_bytes
    assert large.kv_bytes > 2 * small.kv_bytes
    assert precise.kv_bytes > 1.5 * small.kv_bytes


async def test_an_encoder_is_planned_by_its_longest_text(minilm: Path) -> None:
    made = await estimate(minilm, LoadOptions())
    assert made.weights_bytes > 80_000_000
    assert made.compute_bytes > 0
    assert (await estimate(minilm, LoadOptions(spill_bytes=5000))).spill_bytes == 0


async def test_what_cannot_be_loaded_cannot_be_estimated(tmp_path: Path) -> None:
    file = tmp_path / "text.gguf"
    file.write_text("this is not a model" * 100)
    with pytest.raises(RpcError) as caught:
        await estimate(file, LoadOptions())
    assert caught.value.kind == "invalid_model_file"
    with pytest.raises(RpcError) as caught:
        await builtin(kv_type="q8_0", flash_attention="off")
    assert caught.value.kind == "invalid_params"


async def test_other_formats_are_estimated_by_the_size_of_their_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 5000)
    (tmp_path / "tokenizer.json").write_bytes(b"x" * 900)
    spec = ModelSpec("other", ModelEntry(path=str(tmp_path)), "safetensors", tmp_path)
    made = await estimate(spec, LoadOptions())
    assert (made.weights_bytes, made.kv_bytes) == (5900, 0)
