"""Writes a Llama-architecture GGUF file: hyperparameters, byte-level BPE tokenizer, chat template, tensors.

Tensors are asked for one by one, in the file's order, so that a large model never lies in memory whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from demo_model.chat_template import CHAT_TEMPLATE, END_OF_TEXT, MESSAGE_END, SPECIAL_TOKENS

Floats = npt.NDArray[np.float32]

FILE_TYPES: Mapping[gguf.GGMLQuantizationType, gguf.LlamaFileType] = {
    gguf.GGMLQuantizationType.F32: gguf.LlamaFileType.ALL_F32,
    gguf.GGMLQuantizationType.F16: gguf.LlamaFileType.MOSTLY_F16,
    gguf.GGMLQuantizationType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
    gguf.GGMLQuantizationType.Q4_0: gguf.LlamaFileType.MOSTLY_Q4_0,
}


@dataclass(frozen=True)
class LlamaShape:
    """The hyperparameters of a Llama; lengths in elements, context in tokens."""

    layers: int
    embedding: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5

    @property
    def head(self) -> int:
        """Elements of one attention head."""
        return self.embedding // self.heads

    def tensors(self, *, tied: bool = True) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor's GGUF name and shape, rows first, in the file's order. `tied`: the embeddings are the
        output matrix too.
        """
        kv = self.kv_heads * self.head
        yield "token_embd.weight", (self.vocabulary, self.embedding)
        for layer in range(self.layers):
            block = f"blk.{layer}."
            yield block + "attn_norm.weight", (self.embedding,)
            yield block + "attn_q.weight", (self.embedding, self.embedding)
            yield block + "attn_k.weight", (kv, self.embedding)
            yield block + "attn_v.weight", (kv, self.embedding)
            yield block + "attn_output.weight", (self.embedding, self.embedding)
            yield block + "ffn_norm.weight", (self.embedding,)
            yield block + "ffn_gate.weight", (self.feed_forward, self.embedding)
            yield block + "ffn_up.weight", (self.feed_forward, self.embedding)
            yield block + "ffn_down.weight", (self.embedding, self.feed_forward)
        yield "output_norm.weight", (self.embedding,)
        if not tied:
            yield "output.weight", (self.vocabulary, self.embedding)

    def parameters(self) -> int:
        """How many weights the model has."""
        return sum(int(np.prod(shape)) for _, shape in self.tensors())


@dataclass(frozen=True)
class Vocabulary:
    """A byte-level BPE tokenizer: all tokens by id, and the merges in order of rank ("left right")."""

    tokens: list[str]
    merges: list[str]


@dataclass(frozen=True)
class Description:
    """What the file says about itself."""

    name: str
    text: str


def storage_type(
    name: str, shape: tuple[int, ...], wanted: gguf.GGMLQuantizationType
) -> gguf.GGMLQuantizationType:
    """The type that a tensor is stored in: vectors (norms) stay F32, 4-bit files keep 8-bit embeddings."""
    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    if name in ("token_embd.weight", "output.weight") and wanted == gguf.GGMLQuantizationType.Q4_0:
        return gguf.GGMLQuantizationType.Q8_0
    return wanted


def write_llama(
    path: Path,
    shape: LlamaShape,
    vocabulary: Vocabulary,
    description: Description,
    tensor: Callable[[str, tuple[int, ...]], Floats],
    wanted: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F16,
    *,
    tied: bool = True,
) -> None:
    """Write the model to `path`; `tensor(name, shape)` gives each, rows first, Q and K in llama.cpp's order.

    Raises ValueError when the vocabulary is not of the shape's size.
    """
    if len(vocabulary.tokens) != shape.vocabulary:
        raise ValueError(f"{len(vocabulary.tokens)} tokens for a vocabulary of {shape.vocabulary}")
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, shape, description, wanted)
    _add_tokenizer(writer, vocabulary)
    layout = [(name, size, storage_type(name, size, wanted)) for name, size in shape.tensors(tied=tied)]
    for name, size, kind in layout:
        stored = size if kind.name.startswith("F") else gguf.quant_shape_to_byte_shape(size, kind)
        itemsize = {"F32": 4, "F16": 2}.get(kind.name, 1)
        dtype = {"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)
        raw = None if kind.name.startswith("F") else kind
        writer.add_tensor_info(name, stored, np.dtype(dtype), int(np.prod(stored)) * itemsize, raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, size, kind in layout:
        writer.write_tensor_data(gguf.quants.quantize(tensor(name, size), kind))
    writer.close()


def _describe(
    writer: gguf.GGUFWriter, shape: LlamaShape, description: Description, wanted: gguf.GGMLQuantizationType
) -> None:
    writer.add_type("model")
    writer.add_name(description.name)
    writer.add_description(description.text)
    writer.add_license("mit")
    writer.add_size_label(_size_label(shape.parameters()))
    writer.add_languages(["en"])
    writer.add_file_type(FILE_TYPES[wanted])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def _size_label(parameters: int) -> str:
    return f"{parameters / 1e6:.1f}M" if parameters < 1e8 else f"{parameters / 1e6:.0f}M"


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    types = [
        gguf.TokenType.CONTROL if token in SPECIAL_TOKENS else gguf.TokenType.NORMAL
        for token in vocabulary.tokens
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(types)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.tokens.index(END_OF_TEXT))
    writer.add_eos_token_id(vocabulary.tokens.index(MESSAGE_END))
    writer.add_eot_token_id(vocabulary.tokens.index(MESSAGE_END))
    writer.add_pad_token_id(vocabulary.tokens.index(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)
