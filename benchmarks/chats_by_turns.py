"""Chats that take turns and together exceed the KV cache: time to first token, with what leaves the cache
kept in main memory and without.

    python benchmarks/chats_by_turns.py [--model 135m|0.5b|FILE] [--tokens 2000] [--chats 4]

The cache has cells for two chats. Every turn but the first goes on where its chat stood. There is no peer:
without that memory each turn computes its chat anew.
"""

from __future__ import annotations

import statistics
import time

from harness import ours, running
from harness.models import prompt
from harness.report import Report, row
from harness.running import Options

from native_host.client import Host

TURNS = 3
NEW_TOKENS = 32
"""Of each turn after the first."""


def main() -> None:
    parser = running.parser(__doc__, rounds=1)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--chats", type=int, default=4)
    arguments = parser.parse_args()
    tokens: int = 300 if arguments.quick else arguments.tokens
    chats: int = arguments.chats
    running.run(arguments, lambda options: [measure(options, tokens, chats)])


def measure(options: Options, tokens: int, chats: int) -> Report:
    kept, lost = (of_entry(options, tokens, chats, memory) for memory in (None, 0))
    rows = [
        row(f"turn {turn}, median of {chats} chats: time to first token", "s", with_it, without)
        for turn, (with_it, without) in enumerate(zip(kept, lost, strict=True), 1)
    ]
    title = f"{chats} chats of {tokens} tokens by turns, in cells for two"
    return Report(title, rows, ours="kept in main memory", peer="computed anew")


def of_entry(options: Options, tokens: int, chats: int, memory: int | None) -> list[float]:
    """Seconds to the first token of each turn, the median of the chats."""
    longest = tokens + TURNS * NEW_TOKENS + 16
    entry: dict[str, ours.Key] = {
        "threads": options.threads,
        "context_length": longest,
        "kv_cache_tokens": 2 * longest,
        "spill_memory": 1 << 30 if memory is None else memory,
    }
    with ours.spawned(options.model, entry) as host:
        host.load(ours.NAME)
        rounds = [
            [first_token(host, prompt(chat + 1, tokens + turn * NEW_TOKENS)) for chat in range(chats)]
            for turn in range(TURNS)
        ]
    return [statistics.median(times) for times in rounds]


def first_token(host: Host, tokens: list[int]) -> float:
    """Seconds until the first token after a prompt."""
    began = time.perf_counter()
    arrivals = ours.arrivals(host, tokens, 2)
    next(arrivals)
    took = time.perf_counter() - began
    for _ in arrivals:  # a stream that is let go of is cancelled
        pass
    return took


if __name__ == "__main__":
    main()
