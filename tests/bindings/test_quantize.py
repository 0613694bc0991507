"""`quantize_gguf`: smaller files, and refusals that end nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import tabagent_model

MODEL = Path(__file__).parents[2] / "native_host" / "models" / "builtin" / "tabagent-demo.gguf"


def test_a_quantized_file_still_answers(tmp_path: Path) -> None:
    tabagent_model.quantize_gguf(MODEL, tmp_path / "small.gguf", "q8_0", threads=1)
    facts = tabagent_model.inspect_gguf(tmp_path / "small.gguf")
    assert facts["file_type"] == "Q8_0"
    with tabagent_model.PyModel() as model:
        model.load(tabagent_model.get_optimal_binary("libllama.so"), tmp_path / "small.gguf", threads=1)
        assert (
            len(model.chat([{"role": "user", "content": "What is a worker?"}], max_tokens=8, temperature=0.0))
            > 8
        )


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(tabagent_model.InvalidArgumentError, match="Q4_K_M"):
        tabagent_model.quantize_gguf(MODEL, tmp_path / "small.gguf", "Q9")
    with pytest.raises(tabagent_model.InvalidArgumentError, match="exists already"):
        tabagent_model.quantize_gguf(MODEL, MODEL, "Q8_0")
    (tmp_path / "text.gguf").write_text("no model")
    with pytest.raises(tabagent_model.InvalidGgufError):
        tabagent_model.quantize_gguf(tmp_path / "text.gguf", tmp_path / "small.gguf", "Q8_0")
    tabagent_model.quantize_gguf(MODEL, tmp_path / "small.gguf", "Q8_0")
    with pytest.raises(tabagent_model.InferenceError, match="requantizing"):
        tabagent_model.quantize_gguf(tmp_path / "small.gguf", tmp_path / "smaller.gguf", "Q4_0")
