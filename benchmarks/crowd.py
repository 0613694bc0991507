"""Many requests at once: a spawned host over stdio against llama-server, the same file and threads.

    python benchmarks/crowd.py [--scenario NAME ...] [--model 135m|0.5b|FILE]

- long: four running streams, then a prompt of 4,000 tokens; the longest gap between two tokens of a stream
  while it is prefilled, and the newcomer's first token. llama-server has its defaults.
- tuned: the same against llama-server with `-b` and `-ub` so small that its gap is ours.
- together: sixteen clients at once with one system prompt of 1,000 tokens; the median time to the first
  token.
- sixteen, sixty-four: so many clients, each asking again as soon as it has its answer, 64 tokens in and 48
  out; tokens generated a second, with as many slots as clients.

Ours chooses its threads unless --our-threads says how many.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from harness import running
from harness.llama_server import llama_server
from harness.models import prompt
from harness.ours import Stream, streaming
from harness.report import AtLeast, AtMost, Report, row
from harness.running import Options

CONTEXT = 8192
SLOTS = 16
RUNNING = 4
GAP_TOLERANCE = 1.15
SMALLEST_BATCH = 16


class Crowd:
    """Both sides, each started for one measurement at a time."""

    def __init__(self, options: Options, our_threads: int | None) -> None:
        self.options = options
        self.quick = options.quick
        self._our_threads = our_threads

    @contextmanager
    def ours(self, slots: int = SLOTS) -> Iterator[Stream]:
        """Our host with so many sequences."""
        with streaming(
            self.options.model,
            {"context_length": CONTEXT, "parallel": slots, "threads": self._our_threads},
        ) as stream:
            yield stream

    @contextmanager
    def peer(self, slots: int = SLOTS, options: Sequence[str] = ()) -> Iterator[Stream]:
        """llama-server with so many slots."""
        with llama_server(
            self.options.model, threads=self.options.threads, slots=slots, context=CONTEXT, options=options
        ) as server:
            yield server.stream

    def both(self, measure: Callable[[Stream], float], slots: int = SLOTS) -> tuple[float, float | None]:
        """One measurement of each side; None for a peer that is not asked."""
        with self.ours(slots) as stream:
            mine = measure(stream)
        if not self.options.peers:
            return mine, None
        with self.peer(slots) as stream:
            return mine, measure(stream)


class Stall:
    """What running streams and a newcomer went through: seconds, and tokens computed a second meanwhile."""

    def __init__(self, stream: Stream, newcomer: int) -> None:
        arrivals: list[list[float]] = [[] for _ in range(RUNNING)]
        started = threading.Barrier(RUNNING + 1)
        over = threading.Event()

        def run(who: int) -> None:
            for count, at in enumerate(stream(prompt(who, 32), 2000), 1):
                arrivals[who].append(at)
                if count == 20:
                    started.wait()
                if over.is_set():
                    return

        with ThreadPoolExecutor(RUNNING) as pool:
            runs = [pool.submit(run, who) for who in range(RUNNING)]
            started.wait()
            asked = time.perf_counter()
            answered = next(stream(prompt(9, newcomer), 4))
            over.set()
            for each in runs:
                each.result()
        between = [
            (before, after)
            for times in arrivals
            for before, after in itertools.pairwise(times)
            if after > asked and before < answered
        ]
        self.gap = max(after - before for before, after in between)
        self.first_token = answered - asked
        self.throughput = (newcomer + len(between)) / self.first_token


def long(crowd: Crowd) -> Report:
    """Against llama-server's defaults."""
    newcomer = 200 if crowd.quick else 4000
    with crowd.ours() as stream:
        mine = Stall(stream, newcomer)
    theirs: Stall | None = None
    if crowd.options.peers:
        with crowd.peer() as stream:
            theirs = Stall(stream, newcomer)
    rows = [
        row("longest gap of a stream", "s", mine.gap, theirs.gap if theirs else None, AtMost(0.03)),
        row(
            "newcomer's first token",
            "s",
            mine.first_token,
            theirs.first_token if theirs else None,
            AtMost(1.3),
        ),
    ]
    return Report(f"{RUNNING} streams, and a prompt of {newcomer} tokens arrives", rows, peer="llama-server")


def tuned(crowd: Crowd) -> Report:
    """Against llama-server with batches so small that its longest gap is ours."""
    newcomer = 200 if crowd.quick else 4000
    with crowd.ours() as stream:
        mine = Stall(stream, newcomer)
    theirs: Stall | None = None
    batch = 128
    while crowd.options.peers:
        with crowd.peer(options=("-b", str(batch), "-ub", str(batch))) as stream:
            theirs = Stall(stream, newcomer)
        if theirs.gap <= mine.gap * GAP_TOLERANCE or batch <= SMALLEST_BATCH:
            break
        batch //= 2
    rows = [
        row("longest gap of a stream", "s", mine.gap, theirs.gap if theirs else None),
        row(
            "newcomer's first token",
            "s",
            mine.first_token,
            theirs.first_token if theirs else None,
            AtMost(0.9),
        ),
        row(
            "tokens computed meanwhile",
            "tokens/s",
            mine.throughput,
            theirs.throughput if theirs else None,
            AtLeast(1.0),
        ),
    ]
    return Report(
        f"{RUNNING} streams, and a prompt of {newcomer} tokens arrives",
        rows,
        peer=f"llama-server -ub {batch}",
    )


def together(crowd: Crowd) -> Report:
    """One system prompt for all."""
    length = 100 if crowd.quick else 1000

    def median(stream: Stream) -> float:
        system = prompt(50, length)
        asked = time.perf_counter()
        firsts = in_parallel(lambda who: next(stream(system + prompt(who, 20), 32)) - asked, SLOTS)
        return statistics.median(firsts)

    mine, theirs = crowd.both(median)
    rows = [row("median time to first token", "s", mine, theirs, AtMost(0.25))]
    return Report(f"{SLOTS} clients with one system prompt of {length} tokens", rows, peer="llama-server")


def closed_loop(clients: int, turns: int) -> Callable[[Crowd], Report]:
    """So many clients, each asking `turns` times."""

    def measure(crowd: Crowd) -> Report:
        asked, generated = (1, 8) if crowd.quick else (turns, 48)

        def answers(stream: Stream, who: int) -> int:
            for turn in range(asked):
                for _ in stream(prompt(100 + clients * turn + who, 64), generated):
                    pass
            return asked * generated

        def throughput(stream: Stream) -> float:
            began = time.perf_counter()
            tokens = in_parallel(lambda who: answers(stream, who), clients)
            return sum(tokens) / (time.perf_counter() - began)

        mine, theirs = crowd.both(throughput, clients)
        rows = [row("tokens generated", "tokens/s", mine, theirs, AtLeast(1.0))]
        return Report(f"{clients} clients, 64 tokens in, {generated} out", rows, peer="llama-server")

    return measure


def in_parallel(work: Callable[[int], float], count: int) -> list[float]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


SCENARIOS: dict[str, Callable[[Crowd], Report]] = {
    "long": long,
    "tuned": tuned,
    "together": together,
    "sixteen": closed_loop(16, turns=4),
    "sixty-four": closed_loop(64, turns=2),
}


def main() -> None:
    parser = running.parser(__doc__, rounds=1)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="all unless given")
    parser.add_argument("--our-threads", type=int, help="threads of our host")
    arguments: argparse.Namespace = parser.parse_args()
    names: list[str] = arguments.scenario or list(SCENARIOS)

    def measure(options: Options) -> list[Report]:
        crowd = Crowd(options, arguments.our_threads)
        return [SCENARIOS[name](crowd) for name in names for _ in range(options.rounds)]

    running.run(arguments, measure)


if __name__ == "__main__":
    main()
