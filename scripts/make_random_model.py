"""Makes a GGUF model of random weights with a tokenizer that works: the tensors and costs of a real model
of that size, so it serves benchmarks and tests of speed and memory. What it says means nothing.

    python scripts/make_random_model.py tiny.gguf --preset tiny --type f16 --seed 1
"""

from __future__ import annotations

import argparse
import itertools
import string
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from demo_model.byte_level import byte_alphabet, to_alphabet
from demo_model.chat_template import SPECIAL_TOKENS
from demo_model.llama_gguf import Description, Floats, LlamaShape, Vocabulary, write_llama

PRESETS = {
    # Small enough for a test to make one in a second.
    "tiny": LlamaShape(
        layers=2, embedding=64, heads=4, kv_heads=2, feed_forward=192, vocabulary=2048, context=2048
    ),
    # Its weights outweigh the process around them, and it still loads in a moment.
    "small": LlamaShape(
        layers=8, embedding=512, heads=8, kv_heads=4, feed_forward=1536, vocabulary=4096, context=2048
    ),
    # The shape of SmolLM2-135M, as its model card's config.json has it.
    "135m": LlamaShape(
        layers=30,
        embedding=576,
        heads=9,
        kv_heads=3,
        feed_forward=1536,
        vocabulary=49152,
        context=8192,
        rope_base=100_000.0,
    ),
    # The shape of Qwen2.5-0.5B, as its model card's config.json has it, without the biases that Llama lacks.
    "0.5b": LlamaShape(
        layers=24,
        embedding=896,
        heads=14,
        kv_heads=2,
        feed_forward=4864,
        vocabulary=151_936,
        context=32_768,
        rope_base=1_000_000.0,
        norm_epsilon=1e-6,
    ),
}
TYPES = {
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
    "q4_0": gguf.GGMLQuantizationType.Q4_0,
}


def merges() -> Iterator[tuple[str, str]]:
    """Pairs to merge, by rank: pairs of letters, words' beginnings, digits, then ever longer runs of letters.

    Both sides of a pair exist before it. There are over 450,000.
    """
    letters = string.ascii_lowercase
    space = to_alphabet(" ")
    pairs = ["".join(pair) for pair in itertools.product(letters, repeat=2)]
    yield from itertools.product(letters, letters)
    yield from ((space, start) for start in (*pairs, *string.ascii_letters))
    yield from itertools.product(string.digits, string.digits)
    yield from itertools.product(string.ascii_uppercase, letters)
    yield from itertools.product(pairs, letters)
    yield from itertools.product(pairs, pairs)


def make_vocabulary(size: int) -> Vocabulary:
    """A vocabulary of exactly `size` tokens: the bytes, as many merges as fit, the special tokens last."""
    room = size - 256 - len(SPECIAL_TOKENS)
    ranked = list(itertools.islice(merges(), room))
    if len(ranked) < room:
        raise ValueError(f"a vocabulary of {size} needs more merges than there are")
    tokens = [*byte_alphabet(), *(left + right for left, right in ranked), *SPECIAL_TOKENS]
    return Vocabulary(tokens, [f"{left} {right}" for left, right in ranked])


def random_tensor(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> Floats:
    """Weights that keep activations at unit scale and spread logits by about 2, as a trained model's are.

    The last row length is the fan-in; embeddings are scaled as the output matrix, because the two are one.
    """
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)
    scale = (2.0 if name == "token_embd.weight" else 1.0) / np.sqrt(shape[-1])
    weights: Floats = generator.standard_normal(shape, dtype=np.float32)
    weights *= np.float32(scale)
    return weights


def main() -> None:
    """Parse arguments, write the model, say what was written."""
    parser = argparse.ArgumentParser(description="Make a GGUF model of random weights.")
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--type", choices=TYPES, default="f16", help="how matrices are stored")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    shape = PRESETS[arguments.preset]
    generator = np.random.default_rng(arguments.seed)
    write_llama(
        arguments.out,
        shape,
        make_vocabulary(shape.vocabulary),
        Description(
            f"random-{arguments.preset}", f"Random weights, seed {arguments.seed}: for measurements only."
        ),
        lambda name, size: random_tensor(generator, name, size),
        TYPES[arguments.type],
    )
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {shape.parameters() / 1e6:.1f}M parameters, {arguments.type}, {size:.1f} MB")


if __name__ == "__main__":
    main()
