"""The built-in model in numbers that no format rounds."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from demo_model.llama_gguf import Description, LlamaShape, Vocabulary, write_llama

from native_host.models.registry import BUILTIN_FILE


def widened(path: Path) -> Path:
    """The committed file with its weights in F32."""
    reader = gguf.GGUFReader(BUILTIN_FILE)

    def fact(key: str) -> int:
        return int(reader.fields[key].contents())

    shape = LlamaShape(
        layers=fact("llama.block_count"),
        embedding=fact("llama.embedding_length"),
        heads=fact("llama.attention.head_count"),
        kv_heads=fact("llama.attention.head_count_kv"),
        feed_forward=fact("llama.feed_forward_length"),
        vocabulary=fact("llama.vocab_size"),
        context=fact("llama.context_length"),
    )
    vocabulary = Vocabulary(
        list(reader.fields["tokenizer.ggml.tokens"].contents()),
        list(reader.fields["tokenizer.ggml.merges"].contents()),
    )
    tensors = {tensor.name: tensor.data.astype(np.float32) for tensor in reader.tensors}
    kind = gguf.GGMLQuantizationType.F32
    write_llama(path, shape, vocabulary, Description("f32", "in F32"), lambda name, _: tensors[name], kind)
    return path
