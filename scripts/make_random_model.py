"""Makes a GGUF model of random weights with a tokenizer that works: the tensors and costs of a real model
of that size, so it serves benchmarks and tests of speed and memory. What it says means nothing.

    python scripts/make_random_model.py tiny.gguf --preset tiny --type f16 --seed 1
    python scripts/make_random_model.py --cached --preset 135m --type q8_0  # kept in the cache; prints where

With --recites its greedy answers are a text that is known beforehand: the tokens that `recited` gives.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import string
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
from demo_model.byte_level import byte_alphabet, to_alphabet
from demo_model.chat_template import SPECIAL_TOKENS
from demo_model.llama_gguf import Description, Floats, LlamaShape, Vocabulary, write_llama
from recital import recite
from runtime_build import cache

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
    arguments = parse_arguments()
    if not arguments.cached:
        write(arguments.out, arguments)
        size = arguments.out.stat().st_size / 1e6
        parameters = PRESETS[arguments.preset].parameters() / 1e6
        print(f"{arguments.out}: {parameters:.1f}M parameters, {arguments.type}, {size:.1f} MB")
        return
    kept = cache.directory("models") / f"{arguments.preset}-{arguments.type}-{inputs_id(arguments)}.gguf"
    if not kept.is_file():
        print(f"Making a model of random weights: {arguments.preset}, {arguments.type}", file=sys.stderr)
        unfinished = kept.with_suffix(f".{os.getpid()}")
        write(unfinished, arguments)
        unfinished.replace(kept)
    print(kept)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Make a GGUF model of random weights.")
    parser.add_argument("out", type=Path, nargs="?", help="the file to write")
    parser.add_argument("--cached", action="store_true", help="keep it in the cache folder, and print where")
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--type", choices=TYPES, default="f16", help="how matrices are stored")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recites", action="store_true", help="greedy answers are a text known beforehand")
    arguments = parser.parse_args()
    if (arguments.out is None) != arguments.cached:
        parser.error("name a file to write, or say --cached")
    return arguments


def inputs_id(arguments: argparse.Namespace) -> str:
    """Same id, same file: everything that decides what is written."""
    here = Path(__file__).resolve().parent
    code = [Path(__file__), here / "recital.py", *sorted((here / "demo_model").glob("*.py"))]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in code))
    digest.update(f"{arguments.seed} {arguments.recites} {gguf.GGUF_VERSION}".encode())
    return digest.hexdigest()[:16]


def write(path: Path, arguments: argparse.Namespace) -> None:
    """The model that the arguments describe, as a file."""
    shape = PRESETS[arguments.preset]
    generator = np.random.default_rng(arguments.seed)
    tensor: Callable[[str, tuple[int, ...]], Floats] = lambda name, size: random_tensor(generator, name, size)  # noqa: E731
    write_llama(
        path,
        shape,
        make_vocabulary(shape.vocabulary),
        Description(
            f"random-{arguments.preset}", f"Random weights, seed {arguments.seed}: for measurements only."
        ),
        recite(tensor) if arguments.recites else tensor,
        TYPES[arguments.type],
        tied=not arguments.recites,
    )


if __name__ == "__main__":
    main()
