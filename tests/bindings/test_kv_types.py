"""Every type of keys and values that models.json may name, with and without flash attention."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Literal

import pytest
import tabagent_model

from native_host.models.registry import BUILTIN_FILE

Flash = Literal["auto", "on", "off"]
TYPES = ("f32", "f16", "q8_0", "q4_0")
IMPOSSIBLE = [("q8_0", "off"), ("q4_0", "off")]
POSSIBLE = [pair for pair in product(TYPES, ("auto", "on", "off")) if pair not in IMPOSSIBLE]


def likely(kv_type: str, flash_attention: Flash) -> list[float]:
    """Log-probabilities of a known continuation's tokens."""
    with tabagent_model.Engine(
        BUILTIN_FILE, threads=1, kv_type=kv_type, flash_attention=flash_attention
    ) as engine:
        prompt = engine.apply_template([{"role": "user", "content": "What can you do?"}])
        engine.submit(engine.tokenize_prompt([(prompt, True)]), max_tokens=12, temperature=0.0, logprobs=0)
        found: list[float] = []
        while True:
            for event in engine.drain():
                if event["type"] == "piece":
                    found += [token["logprob"] for token in event["tokens"]]
                elif event["type"] != "started":
                    assert event["type"] == "finished"
                    return found


@pytest.fixture(scope="module")
def exact() -> list[float]:
    return likely("f32", "off")


@pytest.mark.parametrize(("kv_type", "flash_attention"), POSSIBLE)
def test_each_type_computes_the_same_answer(exact: list[float], kv_type: str, flash_attention: Flash) -> None:
    tolerance = {"f32": 0.02, "f16": 0.02, "q8_0": 0.1, "q4_0": 1.5}[kv_type]
    found = likely(kv_type, flash_attention)
    count = len(exact) if kv_type != "q4_0" else 4  # four bits may choose another word later on
    assert found[:count] == pytest.approx(exact[:count], abs=tolerance)


@pytest.mark.parametrize(("kv_type", "flash_attention"), IMPOSSIBLE)
def test_quantized_values_need_flash_attention(kv_type: str, flash_attention: Flash) -> None:
    with pytest.raises(tabagent_model.InvalidArgumentError, match=f"kv_type {kv_type} needs flash attention"):
        tabagent_model.Engine(BUILTIN_FILE, kv_type=kv_type, flash_attention=flash_attention)


def test_blocks_must_divide_heads(tiny_model: Path) -> None:
    """The tiny model's heads have 16 values, a block has 32."""
    with pytest.raises(
        tabagent_model.InvalidArgumentError, match="kv_type q8_0 needs heads of a multiple of 32"
    ):
        tabagent_model.Engine(tiny_model, kv_type="q8_0")
