"""Well-known chat models that come as GGUF files. Shapes are those of the models' own config.json files."""

from __future__ import annotations

import msgspec

BITS = {"Q8_0": 8.5, "Q4_K_M": 4.9}
"""Bits that a weight takes on average: Q8_0 by its layout (32 weights and a 16-bit scale), Q4_K_M by the
sizes of published files, which mix it with Q6_K."""


class KnownModel(msgspec.Struct, frozen=True):
    """`parameters` in all; `active` ones are read for each token (fewer in a mixture of experts)."""

    name: str
    repo: str
    quantization: str
    parameters: float
    layers: int
    kv_heads: int
    head_dim: int
    active: float | None = None

    @property
    def weights_bytes(self) -> int:
        """Bytes of the weights."""
        return int(self.parameters * BITS[self.quantization] / 8)

    @property
    def read_bytes(self) -> int:
        """Bytes of weights that one token needs."""
        return int((self.active or self.parameters) * BITS[self.quantization] / 8)

    def kv_bytes(self, tokens: int) -> int:
        """Bytes of a KV cache in 16 bits: a key and a value in each layer for each token."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim * tokens


KNOWN = (
    KnownModel("SmolLM2 135M", "bartowski/SmolLM2-135M-Instruct-GGUF", "Q8_0", 0.1345e9, 30, 3, 64),
    KnownModel("SmolLM2 360M", "bartowski/SmolLM2-360M-Instruct-GGUF", "Q8_0", 0.362e9, 32, 5, 64),
    KnownModel("Qwen3 0.6B", "Qwen/Qwen3-0.6B-GGUF", "Q8_0", 0.596e9, 28, 8, 128),
    KnownModel("Llama 3.2 1B", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", 1.236e9, 16, 8, 64),
    KnownModel("Qwen3 1.7B", "Qwen/Qwen3-1.7B-GGUF", "Q8_0", 1.72e9, 28, 8, 128),
    KnownModel("Llama 3.2 3B", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M", 3.21e9, 28, 8, 128),
    KnownModel("Qwen3 4B", "Qwen/Qwen3-4B-GGUF", "Q4_K_M", 4.02e9, 36, 8, 128),
    KnownModel("Llama 3.1 8B", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M", 8.03e9, 32, 8, 128),
    KnownModel("Qwen3 8B", "Qwen/Qwen3-8B-GGUF", "Q4_K_M", 8.19e9, 36, 8, 128),
    KnownModel("Phi 4", "bartowski/phi-4-GGUF", "Q4_K_M", 14.66e9, 40, 10, 128),
    KnownModel("Qwen3 14B", "Qwen/Qwen3-14B-GGUF", "Q4_K_M", 14.77e9, 40, 8, 128),
    KnownModel("Qwen3 30B-A3B", "Qwen/Qwen3-30B-A3B-GGUF", "Q4_K_M", 30.53e9, 48, 4, 128, active=3.3e9),
    KnownModel("Qwen3 32B", "Qwen/Qwen3-32B-GGUF", "Q4_K_M", 32.76e9, 64, 8, 128),
    KnownModel("Llama 3.3 70B", "bartowski/Llama-3.3-70B-Instruct-GGUF", "Q4_K_M", 70.55e9, 80, 8, 128),
)
