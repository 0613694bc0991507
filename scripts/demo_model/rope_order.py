"""Q and K rows in the two orders that Llama weights come in.

Hugging Face rotates a head's first half against its second; llama.cpp's Llama rotates neighbouring pairs. The
same weights, rows permuted in each head, compute the same (`LlamaModel.permute` in llama.cpp's converter).
"""

from __future__ import annotations

from demo_model.llama_gguf import Floats


def to_neighbours(weights: Floats, heads: int) -> Floats:
    """From Hugging Face's order to llama.cpp's; `weights` is [heads * head, inputs]."""
    rows, inputs = weights.shape
    ordered: Floats = weights.reshape(heads, 2, -1, inputs).swapaxes(1, 2).reshape(rows, inputs)
    return ordered
