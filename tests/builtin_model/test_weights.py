"""The committed weights are the recorded ones, and the formats derived from them hold the same numbers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "native_host" / "models" / "builtin"
FILE = FOLDER / "tabagent-demo.gguf"
LARGEST = 16 * 1024 * 1024

# How llama.cpp and Hugging Face name the same tensor of a layer (gguf-py's tensor_mapping.py).
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@pytest.fixture(scope="module")
def reader() -> gguf.GGUFReader:
    return gguf.GGUFReader(FILE)


@pytest.fixture(scope="module")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("derived")
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, str(script), "--to", "safetensors", str(folder)], check=True, timeout=60)
    return folder


def metadata(reader: gguf.GGUFReader, key: str) -> Any:  # noqa: ANN401 -- GGUF values are of any kind
    return reader.fields[key].contents()


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def rows_in_halves(rows: int, heads: int) -> npt.NDArray[np.int64]:
    """For every row in Hugging Face's order, its row in llama.cpp's: row j of a head's half h is 2 j + h."""
    head = rows // heads
    return np.array(
        [start + 2 * j + half for start in range(0, rows, head) for half in (0, 1) for j in range(head // 2)]
    )


def test_the_file_is_the_one_whose_hash_is_recorded() -> None:
    recorded, name = (FOLDER / "SHA256").read_text(encoding="ascii").split()
    assert name == FILE.name
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == recorded


def test_the_file_is_small_enough_to_be_committed() -> None:
    assert FILE.stat().st_size <= LARGEST


def test_no_other_model_file_is_in_the_package() -> None:
    kinds = {".gguf", ".safetensors", ".onnx", ".bin", ".pt"}
    models = [path for path in (ROOT / "native_host").rglob("*") if path.suffix in kinds]
    assert models == [FILE]


def test_metadata_says_what_the_model_is(reader: gguf.GGUFReader) -> None:
    assert metadata(reader, "general.name") == "tabagent-demo"
    assert metadata(reader, "general.architecture") == "llama"
    assert metadata(reader, "general.license") == "mit"
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    assert tokens[metadata(reader, "tokenizer.ggml.eos_token_id")] == "<|im_end|>"
    assert metadata(reader, "tokenizer.ggml.add_bos_token") is False
    assert "<|im_start|>" in metadata(reader, "tokenizer.chat_template")


def test_matrices_are_f16_and_norms_are_f32_of_f16_values(reader: gguf.GGUFReader) -> None:
    for tensor in reader.tensors:
        if len(tensor.shape) == 1:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F32
            assert np.array_equal(tensor.data, tensor.data.astype(np.float16).astype(np.float32))
        else:
            assert tensor.tensor_type == gguf.GGMLQuantizationType.F16
        assert np.isfinite(tensor.data).all()


def test_derived_tensors_are_the_same_numbers(reader: gguf.GGUFReader, derived: Path) -> None:
    weights = load_file(derived / "model.safetensors")
    expected = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    for layer in range(metadata(reader, "llama.block_count")):
        for ours, theirs in LAYER_NAMES.items():
            expected[f"model.layers.{layer}.{theirs}.weight"] = f"blk.{layer}.{ours}.weight"
    originals = {tensor.name: tensor.data for tensor in reader.tensors}
    assert set(weights) == set(expected)
    assert set(expected.values()) == set(originals)

    heads = {
        "attn_q": metadata(reader, "llama.attention.head_count"),
        "attn_k": metadata(reader, "llama.attention.head_count_kv"),
    }
    for name, original_name in expected.items():
        original = originals[original_name]
        part = original_name.split(".")[-2]
        if part in heads:
            original = original[rows_in_halves(original.shape[0], heads[part])]
        assert weights[name].dtype == np.float16
        assert np.array_equal(weights[name].astype(np.float32), original.astype(np.float32)), name


def test_the_graph_has_the_same_weights(derived: Path, tmp_path: Path) -> None:
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, str(script), "--to", "onnx", str(tmp_path)], check=True, timeout=60)
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = {each.name.removesuffix(".half"): onnx.numpy_helper.to_array(each) for each in graph.initializer}
    for name, weights in load_file(derived / "model.safetensors").items():
        turned = weights.T if "proj" in name else weights
        assert np.array_equal(stored[name].astype(np.float32), turned.astype(np.float32)), name


def test_derived_tokenizer_has_the_same_tokens_and_merges(reader: gguf.GGUFReader, derived: Path) -> None:
    tokenizer = document(derived / "tokenizer.json")
    tokens = metadata(reader, "tokenizer.ggml.tokens")
    types = metadata(reader, "tokenizer.ggml.token_type")
    assert tokenizer["model"]["vocab"] == {text: token for token, text in enumerate(tokens)}
    assert tokenizer["model"]["merges"] == metadata(reader, "tokenizer.ggml.merges")
    assert tokenizer["pre_tokenizer"]["type"] == "ByteLevel"
    special = {(added["id"], added["content"]) for added in tokenizer["added_tokens"] if added["special"]}
    assert special == {(i, tokens[i]) for i, kind in enumerate(types) if kind == gguf.TokenType.CONTROL}


def test_every_merge_makes_a_token(reader: gguf.GGUFReader) -> None:
    tokens = set(metadata(reader, "tokenizer.ggml.tokens"))
    for merge in metadata(reader, "tokenizer.ggml.merges"):
        left, right = merge.split(" ")
        assert {left, right, left + right} <= tokens


def test_derived_settings_are_the_file_s(reader: gguf.GGUFReader, derived: Path) -> None:
    config = document(derived / "config.json")
    for key, name in (
        ("llama.embedding_length", "hidden_size"),
        ("llama.feed_forward_length", "intermediate_size"),
        ("llama.block_count", "num_hidden_layers"),
        ("llama.attention.head_count", "num_attention_heads"),
        ("llama.attention.head_count_kv", "num_key_value_heads"),
        ("llama.context_length", "max_position_embeddings"),
        ("llama.vocab_size", "vocab_size"),
        ("tokenizer.ggml.eos_token_id", "eos_token_id"),
    ):
        assert config[name] == metadata(reader, key), name
    assert config["rms_norm_eps"] == pytest.approx(metadata(reader, "llama.attention.layer_norm_rms_epsilon"))
    assert config["rope_theta"] == pytest.approx(metadata(reader, "llama.rope.freq_base"))
    template = document(derived / "tokenizer_config.json")["chat_template"]
    assert template == metadata(reader, "tokenizer.chat_template")
