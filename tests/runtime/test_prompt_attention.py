"""Attention as the pack's CPU modules compute it, against its definition in double precision."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize
from numpy.typing import NDArray
from runtime_build import modules, pack

from runtime.ggml_attention import CpuModule, Floats, Inputs, bytes_of

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = ROOT / "model-bindings" / "python" / "tabagent_model" / "runtime"
SECONDS = 120

Attend = Callable[[Inputs, int], Floats]
Mask = NDArray[np.float16]

_module: list[CpuModule] = []


@pytest.fixture(scope="module", params=["plain", "best"])
def attend(request: pytest.FixtureRequest) -> Iterator[Attend]:
    """Attention of inputs by so many threads, computed by one of this machine's modules."""
    known = modules.find(ROOT)
    file = RUNTIME / pack.module_name(known.every[0] if request.param == "plain" else known.best)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, load_module, (file,)) as process:
        yield lambda inputs, threads: process.submit(compute, inputs, threads).result(SECONDS)


def load_module(file: Path) -> None:
    _module.append(CpuModule(file))


def compute(inputs: Inputs, threads: int) -> Floats:
    return _module[0].attention(inputs, threads)


def by_definition(inputs: Inputs) -> NDArray[np.float64]:
    """[streams, tokens, heads, dv]; 0 where a token sees nothing."""
    heads = inputs.queries.shape[2]
    shared_by = heads // inputs.keys.shape[2]
    keys = np.repeat(as_stored(inputs.keys, inputs.key_type), shared_by, axis=2)
    values = np.repeat(as_stored(inputs.values, inputs.value_type), shared_by, axis=2)
    scores = np.einsum("sthd,schd->shtc", inputs.queries.astype(np.float64), keys) * inputs.scale
    if inputs.softcap:
        scores = inputs.softcap * np.tanh(scores / inputs.softcap)
    if inputs.mask is not None:
        scores += slopes(heads, inputs.max_bias)[:, None, None] * inputs.mask[:, None].astype(np.float64)
    sinks = np.full(heads, -np.inf) if inputs.sinks is None else inputs.sinks
    largest = np.maximum(scores.max(axis=-1, initial=-np.inf), sinks[:, None])
    largest = np.where(np.isneginf(largest), 0, largest)[..., None]
    weights = np.exp(scores - largest)
    total = weights.sum(axis=-1, keepdims=True) + np.exp(sinks[:, None, None] - largest)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    result: NDArray[np.float64] = np.einsum("shtc,schd->sthd", weights, values)
    return result


def as_stored(values: Floats, kind: Kind) -> NDArray[np.float64]:
    """What is left of the values in a KV cache of such a type."""
    stored = np.frombuffer(bytes_of(values, kind), np.uint8)
    return dequantize(stored, kind).reshape(values.shape).astype(np.float64)


def slopes(heads: int, max_bias: float) -> NDArray[np.float64]:
    """ALiBi's: a geometric series over the heads up to a power of two, and one between its members."""
    if max_bias == 0:
        return np.ones(heads)
    power = 2 ** int(np.log2(heads))
    first = 2.0 ** (-max_bias / power * np.arange(1, power + 1))
    between = 2.0 ** (-max_bias / 2 / power * np.arange(1, 2 * (heads - power), 2))
    return np.concatenate([first, between])


def random_inputs(
    *, tokens: int, cells: int, heads: int, kv_heads: int, dk: int = 64, dv: int = 64, streams: int = 1
) -> Inputs:
    generator = np.random.default_rng([tokens, cells, heads, kv_heads, dk])
    return Inputs(
        2 * generator.standard_normal((streams, tokens, heads, dk), np.float32),
        generator.standard_normal((streams, cells, kv_heads, dk), np.float32),
        generator.standard_normal((streams, cells, kv_heads, dv), np.float32),
    )


def mask_of(seen: NDArray[np.bool_]) -> Mask:
    return np.where(seen, 0, -np.inf).astype(np.float16)


def causal(tokens: int, cells: int, past: int) -> Mask:
    """Of a prompt's tokens after `past` others; the cells after theirs are free."""
    return mask_of(np.arange(cells) <= past + np.arange(tokens)[:, None])[None]


def crowd(lengths: list[int], cells: int) -> Mask:
    """Of the tokens of some sequences, each so many; the cells of all lie among each other. The first ones of
    a sequence hold what it has of before."""
    generator = np.random.default_rng(lengths)
    owner = generator.integers(0, len(lengths) + 1, cells)
    rows = []
    for sequence, count in enumerate(lengths):
        own = np.flatnonzero(owner == sequence)
        for token in range(count):
            seen = np.zeros(cells, np.bool_)
            seen[own[: len(own) - count + 1 + token]] = True
            rows.append(seen)
    return mask_of(np.array(rows))[None]


def check(attend: Attend, inputs: Inputs, threads: int = 2) -> None:
    np.testing.assert_allclose(attend(inputs, threads), by_definition(inputs), atol=2e-6, rtol=2e-5)


@pytest.mark.parametrize("tokens", [1, 2, 17, 21, 64, 65, 130])
@pytest.mark.parametrize(("heads", "kv_heads"), [(9, 3), (3, 1), (14, 2)])
def test_prompts_of_any_length(attend: Attend, tokens: int, heads: int, kv_heads: int) -> None:
    past = 300
    inputs = random_inputs(tokens=tokens, cells=past + tokens + 5, heads=heads, kv_heads=kv_heads)
    check(attend, replace(inputs, mask=causal(tokens, past + tokens + 5, past)))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "dk", "dv"),
    [(4, 4, 64, 64), (8, 2, 128, 128), (6, 3, 80, 80), (4, 1, 96, 64), (2, 1, 40, 52), (16, 1, 192, 128)],
)
def test_heads_of_any_size(attend: Attend, heads: int, kv_heads: int, dk: int, dv: int) -> None:
    inputs = random_inputs(tokens=70, cells=200, heads=heads, kv_heads=kv_heads, dk=dk, dv=dv)
    check(attend, replace(inputs, mask=causal(70, 200, 120)))


@pytest.mark.parametrize("key_type", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0])
@pytest.mark.parametrize("value_type", [Kind.F32, Kind.F16, Kind.BF16, Kind.Q8_0])
def test_types_of_the_cache(attend: Attend, key_type: Kind, value_type: Kind) -> None:
    inputs = random_inputs(tokens=40, cells=150, heads=6, kv_heads=2)
    mask = causal(40, 150, 110)
    check(attend, replace(inputs, mask=mask, key_type=key_type, value_type=value_type))


def test_without_a_mask(attend: Attend) -> None:
    check(attend, random_inputs(tokens=33, cells=100, heads=6, kv_heads=2))


def test_sinks_softcap_and_linear_bias(attend: Attend) -> None:
    inputs = random_inputs(tokens=50, cells=170, heads=12, kv_heads=3)
    inputs = replace(inputs, mask=causal(50, 170, 120))
    check(attend, replace(inputs, sinks=np.linspace(-3, 6, 12, dtype=np.float32)))
    check(attend, replace(inputs, softcap=5.0))
    distance = np.abs(np.arange(170) - 120 - np.arange(50)[:, None]).astype(np.float16)
    check(attend, replace(inputs, mask=(inputs.mask - distance).astype(np.float16), max_bias=8.0))


def test_tokens_that_see_nothing(attend: Attend) -> None:
    inputs = random_inputs(tokens=40, cells=130, heads=6, kv_heads=2)
    mask = causal(40, 130, 90)
    mask[0, 10:20] = -np.inf
    check(attend, replace(inputs, mask=mask))
    check(attend, replace(inputs, mask=mask, sinks=np.zeros(6, np.float32)))


def test_sequences_apart(attend: Attend) -> None:
    inputs = random_inputs(tokens=20, cells=140, heads=6, kv_heads=2, streams=3)
    mask = np.concatenate([causal(20, 140, past) for past in (0, 60, 120)])
    check(attend, replace(inputs, mask=mask))


@pytest.mark.parametrize("lengths", [[40, 1, 1, 25, 1], [1] * 20, [17, 18, 19], [100, 1]])
@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 2), (4, 4)])
def test_sequences_among_each_other(attend: Attend, lengths: list[int], heads: int, kv_heads: int) -> None:
    inputs = random_inputs(tokens=sum(lengths), cells=600, heads=heads, kv_heads=kv_heads)
    inputs = replace(inputs, mask=crowd(lengths, 600), key_type=Kind.F32, value_type=Kind.F32)
    check(attend, inputs)


def test_a_result_does_not_depend_on_threads_or_neighbours(attend: Attend) -> None:
    inputs = random_inputs(tokens=60, cells=400, heads=6, kv_heads=2)
    inputs = replace(inputs, mask=crowd([30, 1, 29], 400))
    whole = attend(inputs, 2)
    for threads in (1, 3, 5):
        assert np.array_equal(attend(inputs, threads), whole)
    assert inputs.mask is not None
    for part in (slice(0, 30), slice(3, 9), slice(30, 31), slice(31, 60), slice(59, 60)):
        alone = replace(inputs, queries=inputs.queries[:, part], mask=inputs.mask[:, part])
        assert np.array_equal(attend(alone, 2), whole[:, part])
