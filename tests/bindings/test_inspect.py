"""Inspecting files without llama.cpp: what the `gguf` package reads in them, and what the machine is."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import tabagent_model
from tabagent_model import InvalidGgufError, PyModel, inspect_gguf


def write_model(path: Path, kind: gguf.GGMLQuantizationType, rows: int = 2) -> None:
    """A file with one tensor of one type."""
    _, size = gguf.GGML_QUANT_SIZES[kind]
    writer = gguf.GGUFWriter(str(path), "llama")
    data = np.zeros((rows, size), dtype=np.uint8)
    writer.add_tensor("weights", data, raw_shape=(rows, size), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# The package says 40 bytes for Q8_1, an internal type; ggml-common.h has two half floats and 32 bytes.
KINDS = [kind for kind in gguf.GGML_QUANT_SIZES if kind.name != "Q8_1"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_type_has_the_size_that_the_gguf_package_knows(
    tmp_path: Path, kind: gguf.GGMLQuantizationType
) -> None:
    path = tmp_path / "one.gguf"
    write_model(path, kind)
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    (share,) = inspect_gguf(path)["quantization"]
    assert share == {"type": kind.name, "tensors": 1, "elements": 2 * elements, "bytes": 2 * size}


def test_a_model_as_the_gguf_package_reads_it(tiny_model: Path) -> None:
    facts = inspect_gguf(tiny_model)
    reader = gguf.GGUFReader(tiny_model)
    assert facts["tensor_count"] == len(reader.tensors)
    assert facts["parameters"] == sum(int(tensor.n_elements) for tensor in reader.tensors)
    assert sum(share["bytes"] for share in facts["quantization"]) == sum(
        int(t.n_bytes) for t in reader.tensors
    )
    assert facts["size_bytes"] == tiny_model.stat().st_size
    assert (facts["architecture"], facts["context_length"], facts["vocab_size"]) == ("llama", 2048, 2048)
    assert (facts["head_count"], facts["head_count_kv"], facts["block_count"]) == (4, 2, 2)
    assert (facts["loadable"], facts["problem"], facts["adapter"]) == (True, None, None)
    keys = {key for key in reader.fields if not key.startswith("GGUF.")}
    assert set(facts["metadata"]) == keys
    for key, value in facts["metadata"].items():
        if isinstance(value, dict):
            assert value["length"] == len(reader.fields[key].data)
        elif not isinstance(value, float):
            assert value == reader.fields[key].contents()


def test_it_agrees_with_llama_cpp(model: PyModel, tiny_model: Path) -> None:
    facts = inspect_gguf(tiny_model)
    assert facts["vocab_size"] == model.vocab_size()
    assert facts["context_length"] == model.context_train_size()
    assert facts["embedding_length"] == model.embedding_dim()


def test_an_adapter_is_recognised_and_not_loaded(tmp_path: Path, library: str) -> None:
    path = tmp_path / "adapter.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, 16.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.zeros((8, 64), dtype=np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.zeros((64, 8), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = inspect_gguf(path)
    assert facts["adapter"] == {"type": "lora", "alpha": 16.0, "rank": 8}
    assert not facts["loadable"]
    assert "adapter" in (facts["problem"] or "")
    with pytest.raises(InvalidGgufError, match="adapter"):
        PyModel().load(library, path)


def test_hardware_facts() -> None:
    cpu = tabagent_model.get_cpu_info()
    assert cpu["physical_cores"] >= 1
    assert cpu["logical_cores"] >= cpu["physical_cores"]
    assert cpu["features"] == sorted(cpu["features"])
    memory = tabagent_model.get_memory_info()
    assert 0 < memory["available_bytes"] <= memory["total_bytes"]
    assert isinstance(tabagent_model.get_gpu_info(), list)


def test_a_binary_is_explained() -> None:
    candidates = tabagent_model.explain_binary("llama.dll")
    chosen = [candidate["path"] for candidate in candidates if candidate["outcome"] == "chosen"]
    assert chosen == [tabagent_model.get_optimal_binary("llama.dll")]
    assert all(candidate["reason"] for candidate in candidates)
