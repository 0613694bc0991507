"""What would fit and how fast it would be, by figures alone; and the figure that is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.models.recommend.bandwidth import measure, memory_speed
from native_host.models.recommend.prediction import COMPUTE_BYTES, RATE, merit, predict
from native_host.models.recommend.table import KNOWN
from native_host.models.sources.source import HubSource, parse_source

GIB = 1 << 30


def test_the_table_s_sizes_are_those_of_published_files() -> None:
    weights = {model.name: model.weights_bytes for model in KNOWN}
    published = {"Llama 3.1 8B": 4.92e9, "Qwen3 8B": 5.03e9, "Qwen3 14B": 9.0e9, "Llama 3.2 3B": 2.02e9}
    for name, size in published.items():
        assert weights[name] == pytest.approx(size, rel=0.03)


def test_a_kv_cache_of_llama_3_1_takes_an_eighth_of_a_mib_a_token() -> None:
    model = next(model for model in KNOWN if model.name == "Llama 3.1 8B")
    assert model.kv_bytes(1) == 128 << 10


def test_every_model_s_source_is_one_that_can_be_pulled() -> None:
    for model in KNOWN:
        source = parse_source(f"hf:{model.repo}:{model.quantization}")
        assert source == HubSource(model.repo, model.quantization)


def test_speed_is_what_is_read_by_what_is_read_a_second() -> None:
    prediction = predict(GIB, GIB // 2, 0, 8 * GIB, 10 * GIB)
    assert prediction.decode_tokens_per_s == pytest.approx(20 * RATE["quantized"])
    assert prediction.memory_bytes > GIB + COMPUTE_BYTES
    assert prediction.fits
    assert not predict(8 * GIB, GIB, 0, 8 * GIB, GIB).fits
    assert not predict(GIB, GIB, 7 * GIB, 8 * GIB, GIB).fits


def test_the_largest_that_is_fast_enough_comes_first_and_what_does_not_fit_last() -> None:
    def ranked(parameters: float, fits: bool, tokens_per_s: float) -> tuple[bool, bool, float]:
        size = GIB if fits else 100 * GIB
        return merit(parameters, predict(size, size, 0, 8 * GIB, tokens_per_s * size / RATE["quantized"]))

    shuffled = ((90e9, False, 9), (8e9, True, 3), (9e9, True, 2), (1e9, True, 50), (3e9, True, 10))
    best, small, slow, slower, big = sorted(ranked(*each) for each in shuffled)
    assert (best, small) == (ranked(3e9, True, 10), ranked(1e9, True, 50))
    assert (slow, slower) == (ranked(8e9, True, 3), ranked(9e9, True, 2))
    assert big == ranked(90e9, False, 9)


def test_memory_is_measured_by_reading_it() -> None:
    assert 1e8 < measure(2, 8 << 20) < 1e13


def test_the_figure_is_kept_for_the_same_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = memory_speed("this one", 1, 64 << 20)
    assert memory_speed("this one", 1, 64 << 20) == first
    assert memory_speed("another one", 1, 64 << 20).processor == "another one"


def test_of_two_figures_the_better_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "native-host" / "memory-speed.json"
    file.parent.mkdir()
    file.write_text('{"processor": "this one", "threads": 1, "bytes_per_s": 1e15, "measured_at": 1.0}')
    again = memory_speed("this one", 1, 64 << 20)
    assert again.bytes_per_s == 1e15
    assert again.measured_at > 1.0
