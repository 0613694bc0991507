"""A Llama-architecture GGUF file as a Hugging Face folder, weight for weight.

It writes config.json, generation_config.json, tokenizer.json, tokenizer_config.json, and model.safetensors in
F16, or in F32, which holds the same numbers. It needs gguf, numpy and safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Numbers = Literal["f16", "f32"]

OUTER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
BLOCK_NAMES = {
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


class Source:
    """The GGUF file: its metadata and its tensors."""

    def __init__(self, path: Path) -> None:
        """Open `path`."""
        self._reader = gguf.GGUFReader(path)

    def text(self, key: str) -> str:
        """A metadata string. Raises KeyError when the file has no such key, as all of these do."""
        return str(self._reader.fields[key].contents())

    def texts(self, key: str) -> list[str]:
        """A list of metadata strings."""
        return [str(text) for text in self._reader.fields[key].contents()]

    def number(self, key: str) -> int:
        """A whole metadata number."""
        return int(self._reader.fields[key].contents())

    def real(self, key: str) -> float:
        """A metadata number, rounded to the digits that its float32 has."""
        return float(f"{self._reader.fields[key].contents():.7g}")

    def special_tokens(self) -> list[int]:
        """The ids of the control tokens."""
        types = self._reader.fields["tokenizer.ggml.token_type"].contents()
        return [token for token, kind in enumerate(types) if kind == gguf.TokenType.CONTROL]

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Every tensor by its GGUF name, rows first. Raises ValueError for a quantized one: not exact."""
        exact = (gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32)
        quantized = [tensor.name for tensor in self._reader.tensors if tensor.tensor_type not in exact]
        if quantized:
            raise ValueError(f"quantized tensors cannot be derived exactly: {', '.join(quantized)}")
        return {tensor.name: tensor.data for tensor in self._reader.tensors}


def hugging_face_name(name: str) -> str:
    """The name that `LlamaForCausalLM` gives to a GGUF tensor."""
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{BLOCK_NAMES[part]}.weight"


def to_halves(weights: Floats, heads: int) -> Floats:
    """Q or K rows, [heads * head, inputs], from llama.cpp's order to Hugging Face's.

    llama.cpp's Llama rotates neighbouring rows of a head, Hugging Face a head's first half against its second
    (`LlamaModel.permute` in llama.cpp's converter).
    """
    rows, inputs = weights.shape
    ordered: Floats = weights.reshape(heads, -1, 2, inputs).swapaxes(1, 2).reshape(rows, inputs)
    return ordered


def as_halves(name: str, weights: npt.NDArray[Any]) -> Halves:
    """`weights` in F16. Raises ValueError when one of them is no F16 value."""
    halves: Halves = weights.astype(np.float16)
    if not np.array_equal(halves.astype(np.float32), weights.astype(np.float32)):
        raise ValueError(f"{name} holds values that F16 cannot")
    return halves


def derive_tensors(source: Source) -> dict[str, Halves]:
    """Every tensor under its Hugging Face name, Q and K rows in Hugging Face's order."""
    heads = {
        "attn_q": source.number("llama.attention.head_count"),
        "attn_k": source.number("llama.attention.head_count_kv"),
    }
    derived: dict[str, Halves] = {}
    for name, weights in source.tensors().items():
        part = name.split(".")[-2]
        if part in heads:
            ordered: Floats = to_halves(weights.astype(np.float32), heads[part])
            weights = ordered
        derived[hugging_face_name(name)] = np.ascontiguousarray(as_halves(name, weights))
    return derived


def config(source: Source, numbers: Numbers) -> dict[str, Any]:
    """config.json, with the names of transformers 4 and 5 where they differ."""
    rope_base = source.real("llama.rope.freq_base")
    dtype = {"f16": "float16", "f32": "float32"}[numbers]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": source.number("llama.embedding_length"),
        "intermediate_size": source.number("llama.feed_forward_length"),
        "num_hidden_layers": source.number("llama.block_count"),
        "num_attention_heads": source.number("llama.attention.head_count"),
        "num_key_value_heads": source.number("llama.attention.head_count_kv"),
        "head_dim": source.number("llama.rope.dimension_count"),
        "max_position_embeddings": source.number("llama.context_length"),
        "rms_norm_eps": source.real("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": rope_base,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope_base},
        "vocab_size": source.number("llama.vocab_size"),
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": dtype,
        "dtype": dtype,
        **_token_ids(source),
    }


def _token_ids(source: Source) -> dict[str, int]:
    return {
        "bos_token_id": source.number("tokenizer.ggml.bos_token_id"),
        "eos_token_id": source.number("tokenizer.ggml.eos_token_id"),
        "pad_token_id": source.number("tokenizer.ggml.padding_token_id"),
    }


def tokenizer(source: Source) -> dict[str, Any]:
    """tokenizer.json: byte-level BPE with GPT-2's pre-tokenizer, which llama.cpp calls "gpt-2"."""
    kind = (source.text("tokenizer.ggml.model"), source.text("tokenizer.ggml.pre"))
    if kind != ("gpt2", "gpt-2"):
        raise ValueError(f"no rule to derive a tokenizer of kind {kind}")
    tokens = source.texts("tokenizer.ggml.tokens")
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": token, "content": tokens[token], **plain} for token in source.special_tokens()
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: token for token, text in enumerate(tokens)},
            "merges": source.texts("tokenizer.ggml.merges"),
        },
    }


def tokenizer_config(source: Source) -> dict[str, Any]:
    """tokenizer_config.json, with the chat template."""
    tokens = source.texts("tokenizer.ggml.tokens")
    named = {name.removesuffix("_id"): tokens[token] for name, token in _token_ids(source).items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "add_bos_token": bool(source.number("tokenizer.ggml.add_bos_token")),
        "add_eos_token": bool(source.number("tokenizer.ggml.add_eos_token")),
        "clean_up_tokenization_spaces": False,
        "model_max_length": source.number("llama.context_length"),
        "chat_template": source.text("tokenizer.chat_template"),
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """A readable JSON file."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def derive_safetensors(source: Source, folder: Path, numbers: Numbers = "f16") -> None:
    """Write the Hugging Face folder."""
    write_companions(source, folder, numbers)
    dtype = {"f16": np.float16, "f32": np.float32}[numbers]
    tensors = {name: tensor.astype(dtype) for name, tensor in derive_tensors(source).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_companions(source: Source, folder: Path, numbers: Numbers) -> None:
    """Write everything but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config(source, numbers))
    write_json(folder / "generation_config.json", _token_ids(source))
    write_json(folder / "tokenizer.json", tokenizer(source))
    write_json(folder / "tokenizer_config.json", tokenizer_config(source))
