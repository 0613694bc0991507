"""Weights of every type that the model maker writes: quantized ones take other kernels of the CPU module than
F16 does, on some processors other units of the chip."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path

import pytest
import tabagent_model
from tabagent_model.types import TokenInfo

ROOT = Path(__file__).parents[2]
PROMPT = [5 + 3 * i for i in range(48)]
"""Longer than any kernel's tile."""


def first_token(folder: Path, type_: str) -> TokenInfo:
    """The likeliest token after PROMPT, with others near it, by the same weights stored as `type_`."""
    path = folder / f"{type_}.gguf"
    maker = ROOT / "scripts" / "make_random_model.py"
    subprocess.run(
        [sys.executable, maker, path, "--preset", "tiny", "--type", type_, "--seed", "1"], check=True
    )
    with tabagent_model.Engine(path, threads=1) as engine:
        engine.submit(PROMPT, max_tokens=1, temperature=0.0, logprobs=20)
        while True:
            select.select([engine.fileno()], [], [])
            for event in engine.drain():
                if event["type"] == "piece":
                    return event["tokens"][0]


@pytest.mark.parametrize(("type_", "tolerance"), [("q8_0", 0.1), ("q4_0", 2.0)])
def test_quantized_weights_say_nearly_the_same(tmp_path: Path, type_: str, tolerance: float) -> None:
    full, quantized = first_token(tmp_path, "f16"), first_token(tmp_path, type_)
    others = {each["token"]: each["logprob"] for each in quantized["top"]}
    assert others[full["token"]] == pytest.approx(full["logprob"], abs=tolerance)
