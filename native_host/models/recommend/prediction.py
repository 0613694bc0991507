"""From a model's size and a machine's figures to memory and tokens a second.

While decoding, every token reads all (active) weights once, so tokens/s = rate / bytes read. The rate is the
measured speed of plain reading times `RATE`: llama.cpp's kernels fetch ahead and reach more than a plain
read, those for 16-bit weights less, since they are held up by computing.
"""

from __future__ import annotations

import msgspec

from native_host.models.memory import WORKER_BYTES

RATE = {"quantized": 1.3, "plain": 0.85}
"""Measured with models of random weights (135M in F16, Q8_0, Q4_0; 0.5B in Q8_0) on two cores of a Xeon with
AVX-512: 1.20 to 1.40, and 0.78 to 0.86, times the speed of memchr."""

COMPUTE_BYTES = 160 << 20
"""What a context takes beside weights and KV cache: logits and intermediate results."""

READING_SPEED = 8.0
"""Tokens a second below which one waits for the text."""


class Prediction(msgspec.Struct, frozen=True):
    """What a model would take and do here."""

    memory_bytes: int
    decode_tokens_per_s: float
    fits: bool


def predict(
    weights_bytes: int,
    read_bytes: int,
    kv_bytes: int,
    available_bytes: int,
    bytes_per_s: float,
    plain: bool = False,
) -> Prediction:
    """`plain`: 16 or 32 bits a weight."""
    memory = weights_bytes + kv_bytes + COMPUTE_BYTES + WORKER_BYTES
    rate = bytes_per_s * RATE["plain" if plain else "quantized"]
    return Prediction(memory, rate / max(1, read_bytes), memory <= available_bytes)


def merit(parameters: float, prediction: Prediction) -> tuple[bool, bool, float]:
    """Sorts best first: what fits and answers at reading speed, the largest of it; then what fits, the
    fastest; then the rest, the smallest."""
    if not prediction.fits:
        return True, True, parameters
    if prediction.decode_tokens_per_s >= READING_SPEED:
        return False, False, -parameters
    return False, True, -prediction.decode_tokens_per_s
