"""Resident memory of our worker and host together against llama-server's: fresh, and after many prompts.

    python benchmarks/memory.py [--model 135m|0.5b|FILE] [--prompts 200]

Same context, slots and KV type. Every prompt is a different one of 128 tokens; 8 tokens are generated.
"""

from __future__ import annotations

from collections.abc import Callable

import psutil
from harness import ours, running
from harness.llama_server import llama_server
from harness.models import prompt
from harness.ours import Stream
from harness.report import AtMost, Report, row
from harness.running import Options

from native_host.client import Host

CONTEXT = 8192
SLOTS = 16
MB = 1e6


def main() -> None:
    parser = running.parser(__doc__, rounds=1)
    parser.add_argument("--prompts", type=int, default=200)
    arguments = parser.parse_args()
    prompts: int = 4 if arguments.quick else arguments.prompts
    running.run(arguments, lambda options: [measure(options, prompts)])


def measure(options: Options, prompts: int) -> Report:
    entry: dict[str, ours.Key] = {"context_length": CONTEXT, "parallel": SLOTS}
    with ours.spawned(options.model, entry) as host:
        host.load(ours.NAME)
        stream: Stream = lambda tokens, count: ours.arrivals(host, tokens, count)  # noqa: E731
        mine = fresh_and_used(stream, lambda: resident(host), prompts)
    theirs: tuple[float, float] | tuple[None, None] = (None, None)
    if options.peers:
        with llama_server(options.model, threads=options.threads, slots=SLOTS, context=CONTEXT) as server:
            theirs = fresh_and_used(server.stream, lambda: server.resident_bytes, prompts)
    rows = [
        row("fresh, after one token", "MB", mine[0], theirs[0], AtMost(1.0)),
        row(f"after {prompts} different prompts", "MB", mine[1], theirs[1], AtMost(0.7)),
    ]
    return Report("Resident memory", rows, ours="host and worker", peer="llama-server")


def fresh_and_used(stream: Stream, memory: Callable[[], int], prompts: int) -> tuple[float, float]:
    """Megabytes after the first token, and after so many prompts."""
    for _ in stream(prompt(0, 16), 1):
        pass
    fresh = memory()
    for who in range(1, prompts + 1):
        for _ in stream(prompt(who, 128), 8):
            pass
    return fresh / MB, memory() / MB


def resident(host: Host) -> int:
    """Of the host and its workers, in bytes. Libraries that both have open count twice."""
    process = psutil.Process(host.info.server.pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    main()
