"""HTTP: `serve --http` against llama-server, the same file, threads and client.

    python benchmarks/http_gateway.py [--scenario NAME ...] [--model 135m|0.5b|FILE]

- crowd: a hundred clients stream at once, 64 tokens in and 32 out; answers that came whole, the time to the
  first byte, and the gaps between events.
- health: requests a second to `/health` over eight connections, and their 99th percentile.
- stdio: one stream over HTTP against the same over stdio, whole answers by the client's clock.
- leaving: a client leaves in the middle of an answer, over HTTP and over the WebSocket, twenty times each:
  from then until the next one has its first token of a model with a single sequence, which bounds how long
  the generation went on. It is to stop within 200 ms.
- standard: 64 tokens in, 64 out; the whole answer. It is to take less than two seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable

from harness import running
from harness.http_streams import Arrivals, crowd, health, left, left_websocket, served, streamed
from harness.llama_server import llama_server
from harness.models import prompt
from harness.ours import NAME, spawned
from harness.report import AtLeast, AtMost, Report, Row, row
from harness.running import Options

CLIENTS = 100
LEAVES = 20
LEFT_ALLOWED_MS = 200.0
CONTEXT = 16384


def both(options: Options, slots: int, measure: Callable[[int], float]) -> tuple[float, float | None]:
    """One measurement of each side, given its port."""
    with served(options.model, entry(options, slots)) as port:
        mine = measure(port)
    if not options.peers:
        return mine, None
    with llama_server(options.model, threads=options.threads, slots=slots, context=CONTEXT) as server:
        return mine, measure(server.port)


def entry(options: Options, slots: int) -> dict[str, str | int | None]:
    """Our model's entry."""
    return {
        "context_length": CONTEXT,
        "parallel": slots,
        "threads": options.threads,
    }


class Crowd:
    """What a hundred clients saw, in seconds."""

    def __init__(self, arrivals: list[Arrivals]) -> None:
        self.whole = sum(each.whole for each in arrivals)
        self.first = sorted(each.at[0] for each in arrivals if each.at)
        gaps = [after - before for each in arrivals for before, after in itertools.pairwise(each.at)]
        self.gaps = sorted(gaps) or [0.0]


def crowded(options: Options) -> Report:
    """A hundred streams at once."""
    clients, count = (4, 8) if options.quick else (CLIENTS, 32)
    prompts = [prompt(who, 64) for who in range(clients)]
    found: list[Crowd] = []

    def measure(port: int) -> float:
        asyncio.run(streamed(port, prompt(999, 16), 4))
        began = time.perf_counter()
        found.append(Crowd(asyncio.run(crowd(port, prompts, count))))
        return clients * count / (time.perf_counter() - began)

    speed, peer_speed = both(options, clients, measure)
    mine, theirs = found[0], found[1] if len(found) > 1 else None

    def compared(what: str, unit: str, figure: Callable[[Crowd], float], bound: float | None = 1.0) -> Row:
        goal = None if bound is None else AtMost(bound)
        return row(what, unit, figure(mine), figure(theirs) if theirs else None, goal)

    rows = [
        compared("answers that came whole", f"of {clients}", lambda side: side.whole, None),
        compared("first byte, median", "s", lambda side: statistics.median(side.first)),
        compared("first byte, 99th percentile", "s", lambda side: percentile(side.first, 99)),
        compared("gap between events, median", "s", lambda side: statistics.median(side.gaps)),
        compared("gap between events, 99th percentile", "s", lambda side: percentile(side.gaps, 99)),
        row("tokens generated", "tokens/s", speed, peer_speed, AtLeast(1.0)),
    ]
    return Report(f"{clients} clients stream, 64 tokens in, {count} out", rows, "HTTP", "llama-server")


def healthy(options: Options) -> Report:
    """How fast it says that it is well."""
    requests = 80 if options.quick else 8000
    found: list[list[float]] = []

    def measure(port: int) -> float:
        asyncio.run(health(port, 8, 80))
        began = time.perf_counter()
        found.append(sorted(asyncio.run(health(port, 8, requests))))
        return requests / (time.perf_counter() - began)

    mine, theirs = both(options, 1, measure)
    slowest = [percentile(each, 99) * 1000 for each in found]
    rows = [
        row("requests", "a second", mine, theirs),
        row("99th percentile", "ms", slowest[0], slowest[1] if len(slowest) > 1 else None),
    ]
    return Report("/health over 8 connections", rows, "HTTP", "llama-server")


def against_stdio(options: Options) -> Report:
    """What HTTP costs one stream."""
    count = 16 if options.quick else 256
    keys = {"context_length": 4096, "threads": options.threads}
    turns: list[tuple[float, float]] = []
    with served(options.model, keys) as port, spawned(options.model, keys) as host:
        host.load(NAME)
        for turn in range(options.rounds + 1):
            tokens = prompt(turn, 64)
            began = time.perf_counter()
            asyncio.run(streamed(port, tokens, count))
            by_http = count / (time.perf_counter() - began)
            began = time.perf_counter()
            stream = host.stream(tokens, model=NAME, max_tokens=count, temperature=0.0, ignore_eos=True)
            for _ in stream.pieces():
                pass
            turns.append((by_http, count / (time.perf_counter() - began)))
    http, stdio = (statistics.median(column) for column in zip(*turns[1:], strict=True))
    ratio = statistics.median(one / other for one, other in turns[1:])
    figure = Row(what="tokens", unit="tokens/s", ours=http, peer=stdio, ratio=ratio, goal=AtLeast(0.97))
    return Report(f"one stream, 64 tokens in, {count} out", [figure], "HTTP", "stdio")


def leaving(options: Options) -> Report:
    """How long a generation whose client has left keeps the next one waiting."""
    leaves = 1 if options.quick else LEAVES
    count = CONTEXT // 2
    rows = []

    async def next_first(port: int, turn: int) -> float:
        return (await streamed(port, prompt(turn, 1), 1)).at[0] * 1000

    async def after(port: int, leave: Callable[[int, list[int], int], Awaitable[None]], turn: int) -> float:
        await leave(port, prompt(turn, 64), count)
        return await next_first(port, 1000 + turn)

    with served(options.model, entry(options, 1)) as port:
        alone = [asyncio.run(next_first(port, 2000 + turn)) for turn in range(leaves)]
        for how, leave in (("HTTP", left), ("WebSocket", left_websocket)):
            took = [asyncio.run(after(port, leave, turn)) for turn in range(leaves)]
            for what, figure in (("median", statistics.median(took)), ("longest", max(took))):
                rows.append(row(f"{how}: {what}", "ms", figure, LEFT_ALLOWED_MS, AtMost(1.0)))
    rows.append(row("a first token when nobody left before: median", "ms", statistics.median(alone)))
    rows.append(row("a first token when nobody left before: longest", "ms", max(alone)))
    return Report(f"{leaves} clients leave; the next one's first token", rows, "HTTP", "allowed")


def standard(options: Options) -> Report:
    """The request that is to take less than two seconds."""
    count = 8 if options.quick else 64

    def measure(port: int) -> float:
        took = []
        for turn in range(options.rounds + 1):
            began = time.perf_counter()
            asyncio.run(streamed(port, prompt(500 + turn, 64), count))
            took.append(time.perf_counter() - began)
        return statistics.median(took[1:])

    mine, theirs = both(options, 4, measure)
    rows = [row("whole answer", "s", mine, theirs)]
    return Report(f"a request, 64 tokens in, {count} out", rows, "HTTP", "llama-server")


def percentile(ordered: list[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


SCENARIOS: dict[str, Callable[[Options], Report]] = {
    "crowd": crowded,
    "health": healthy,
    "stdio": against_stdio,
    "leaving": leaving,
    "standard": standard,
}


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="all unless given")
    arguments: argparse.Namespace = parser.parse_args()
    names: list[str] = arguments.scenario or list(SCENARIOS)
    running.run(arguments, lambda options: [SCENARIOS[name](options) for name in names])


if __name__ == "__main__":
    main()
