"""What a machine gives with a model, through a real host and its worker, as any client would see it."""

from __future__ import annotations

import time

import msgspec

from native_host.client import Host

ROUNDS = 2
"""Each figure is the best of so many: what else a machine does only makes it slower."""


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured, in tokens."""

    prompt: int
    generated: int


SMALL = Sizes(prompt=64, generated=16)


class Speed(msgspec.Struct, frozen=True):
    """Tokens a second of both kinds of work."""

    prefill_tokens_per_s: float
    decode_tokens_per_s: float

    def seconds(self, sizes: Sizes) -> float:
        """How long a prompt and an answer of these sizes take together."""
        return sizes.prompt / self.prefill_tokens_per_s + sizes.generated / self.decode_tokens_per_s


def measured_speed(host: Host, model: str, vocabulary: int, sizes: Sizes) -> Speed:
    """The best of ROUNDS rounds. Every prompt is new, so that no prefix of another is reused."""
    rounds = [_round(host, model, vocabulary, sizes) for _ in range(ROUNDS)]
    return Speed(
        max(each.prefill_tokens_per_s for each in rounds), max(each.decode_tokens_per_s for each in rounds)
    )


def _round(host: Host, model: str, vocabulary: int, sizes: Sizes) -> Speed:
    prompt = _prompt(vocabulary, sizes.prompt)
    began = time.perf_counter()
    host.generate(prompt, model=model, max_tokens=1, temperature=0.0, ignore_eos=True)
    prefilled = time.perf_counter()
    # Its beginning is in the cache by now: what is measured is decoding.
    host.generate(prompt, model=model, max_tokens=1 + sizes.generated, temperature=0.0, ignore_eos=True)
    decoded = time.perf_counter()
    return Speed(sizes.prompt / (prefilled - began), (1 + sizes.generated) / (decoded - prefilled))


def _prompt(vocabulary: int, length: int) -> list[int]:
    """Token ids from the middle of the vocabulary (control tokens are at its ends), begun by the clock."""
    low, room = vocabulary // 4, max(vocabulary // 2, 1)
    first = time.monotonic_ns()
    return [low + (first + place * 7919) % room for place in range(length)]


class Memory(msgspec.Struct, frozen=True):
    """Resident memory in bytes."""

    host: int
    worker: int


def measured_memory(host: Host) -> Memory:
    """Of the host, and of its workers together."""
    import psutil  # every command imports this module, and no other one needs that

    process = psutil.Process(host.info.server.pid)
    workers = sum(int(child.memory_info().rss) for child in process.children(recursive=True))
    return Memory(int(process.memory_info().rss), workers)
