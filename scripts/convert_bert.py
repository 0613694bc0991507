"""Converts a BERT model (a folder as transformers writes it, WordPiece vocabulary, SafeTensors) to a GGUF
file in F32: for tests of embeddings and reranking against transformers.

    python scripts/convert_bert.py FOLDER out.gguf --pooling mean

A model with a classification head over pairs becomes a reranker (`--pooling rank`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import gguf
import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

Floats = npt.NDArray[np.float32]

POOLING = {
    "mean": gguf.PoolingType.MEAN,
    "cls": gguf.PoolingType.CLS,
    "last": gguf.PoolingType.LAST,
    "rank": gguf.PoolingType.RANK,
}

LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""A layer's tensors: transformers' names, and GGUF's."""

ONCE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
HEAD = {
    "pooler.dense.weight": "cls.weight",
    "pooler.dense.bias": "cls.bias",
    "classifier.weight": "cls.output.weight",
    "classifier.bias": "cls.output.bias",
}
"""The classification head; the pooler counts only where there is one."""


class BertConfig(TypedDict):
    """What is read of config.json."""

    num_hidden_layers: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    hidden_act: str


def names(layers: int, ranks: bool) -> Iterator[tuple[str, str]]:
    """All tensors' names, transformers' and GGUF's."""
    yield from ONCE.items()
    for layer in range(layers):
        for theirs, ours in LAYER.items():
            for part in ("weight", "bias"):
                yield f"encoder.layer.{layer}.{theirs}.{part}", f"blk.{layer}.{ours}.{part}"
    if ranks:
        yield from HEAD.items()


def as_llama_writes(token: str) -> str:
    """A WordPiece token with the beginning of a word marked in place of its continuation."""
    if token.startswith("[") and token.endswith("]"):
        return token
    return token[2:] if token.startswith("##") else "\u2581" + token


def add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    """The vocabulary, with the ids of its special tokens."""
    special = gguf.TokenType.CONTROL
    kinds = [special if token == as_llama_writes(token) else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([as_llama_writes(token) for token in tokens])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(tokens.index("[UNK]"))
    writer.add_pad_token_id(tokens.index("[PAD]"))
    writer.add_bos_token_id(tokens.index("[CLS]"))
    writer.add_sep_token_id(tokens.index("[SEP]"))


def convert(folder: Path, out: Path, pooling: str) -> None:
    """Write the GGUF file. Raises KeyError for a folder that holds another kind of model."""
    config: BertConfig = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if config["hidden_act"] != "gelu":
        raise ValueError(f"activation {config['hidden_act']!r}: llama.cpp computes BERT with gelu only")
    tensors: dict[str, Floats] = {
        name.removeprefix("bert."): tensor for name, tensor in load_file(folder / "model.safetensors").items()
    }
    writer = gguf.GGUFWriter(out, "bert")
    writer.add_name(folder.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(POOLING[pooling])
    writer.add_token_type_count(config["type_vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    add_tokenizer(writer, (folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
    for theirs, ours in names(config["num_hidden_layers"], pooling == "rank"):
        writer.add_tensor(ours, tensors[theirs].astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Parse arguments and convert."""
    parser = argparse.ArgumentParser(description="Convert a BERT model to GGUF, in F32.")
    parser.add_argument("folder", type=Path, help="config.json, vocab.txt and model.safetensors")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--pooling", choices=POOLING, default="mean")
    arguments = parser.parse_args()
    convert(arguments.folder, arguments.out, arguments.pooling)


if __name__ == "__main__":
    main()
