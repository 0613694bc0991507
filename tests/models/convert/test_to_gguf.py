"""SafeTensors to GGUF and GGUF to smaller GGUF, by the process that users get."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import tabagent_model

from native_host.models.convert.process import convert
from native_host.models.registry import BUILTIN_FILE


def test_the_built_in_model_comes_back_weight_for_weight(demo: Path, tmp_path: Path) -> None:
    done = convert(demo, "gguf", "F32", tmp_path / "demo.gguf", lambda step: None)
    assert done.details["difference"] < 1e-4
    original, made = gguf.GGUFReader(BUILTIN_FILE), gguf.GGUFReader(tmp_path / "demo.gguf")
    expected = {tensor.name: tensor.data for tensor in original.tensors}
    found = {tensor.name: tensor.data for tensor in made.tensors}
    assert found.keys() == expected.keys()
    for name, data in expected.items():
        assert np.array_equal(found[name], data.astype(np.float32)), name
    for key in ("tokens", "merges", "pre", "token_type", "eos_token_id", "add_bos_token"):
        name = f"tokenizer.ggml.{key}"
        assert made.fields[name].contents() == original.fields[name].contents(), key


def test_quantized_on_the_way(qwen: Path, tmp_path: Path) -> None:
    done = convert(qwen, "gguf", "q8_0", tmp_path / "qwen.gguf", lambda step: None)
    assert done.details["architecture"] == "qwen2"
    assert done.details["quantization"] == "Q8_0"
    assert list(tmp_path.iterdir()) == [tmp_path / "qwen.gguf"]


def test_an_embedding_model(minilm: Path, tmp_path: Path) -> None:
    done = convert(minilm, "gguf", "F32", tmp_path / "minilm.gguf", lambda step: None)
    assert done.details["kind"] == "embed"
    facts = tabagent_model.inspect_gguf(tmp_path / "minilm.gguf")
    assert (facts["architecture"], facts["embedding_length"]) == ("bert", 384)


def test_a_gguf_file_is_quantized(tmp_path: Path) -> None:
    done = convert(BUILTIN_FILE, "gguf", "Q4_K_M", tmp_path / "small.gguf", lambda step: None)
    assert done.details["quantization"] == "Q4_K_M"
    assert (tmp_path / "small.gguf").stat().st_size < 0.6 * BUILTIN_FILE.stat().st_size
