"""How long a cancelled request takes to be answered, in each state: queued, loading, prefilling, decoding.

    python benchmarks/cancel_latency.py [--model 135m|0.5b|FILE] [--rounds 10] [--json]

The clock runs from the moment that the client
sends `$/cancelRequest` until it has the answer; `ping` beside it is the same way without any cancelling.
The contract allows 100 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

from harness.models import chosen_model
from harness.ours import NAME, spawned

from native_host.client import Host
from native_host.client.asking import Generated
from native_host.client.stream import Stream
from native_host.protocol.errors import RpcError

ALLOWED_MS = 100.0
LONG = 2000


def main() -> int:
    """Print medians and maxima; 1 if a maximum is over what the contract allows."""
    parser = argparse.ArgumentParser(description="Measure how fast cancellations are answered.")
    parser.add_argument("--model", default="135m", help="135m, 0.5b, or a GGUF file")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with spawned(chosen_model(arguments.model), {"context_length": 4096}) as host:
        figures = measure(host, arguments.rounds)
    worst = max(max(times) for times in figures.values())
    if arguments.json:
        print(json.dumps(figures))
    else:
        for state, times in figures.items():
            print(f"{state:10} median {statistics.median(times):7.2f} ms   max {max(times):7.2f} ms")
        print(f"allowed    {ALLOWED_MS:.0f} ms")
    return int(worst > ALLOWED_MS)


def measure(host: Host, rounds: int) -> dict[str, list[float]]:
    """Milliseconds by state."""
    states: dict[str, Callable[[Host], float]] = {
        "loading": loading,
        "ping": ping,
        "decoding": decoding,
        "queued": queued,
        "prefilling": prefilling,
    }
    return {state: [once(host) for _ in range(rounds)] for state, once in states.items()}


def ping(host: Host) -> float:
    """The way there and back, and nothing else."""
    began = time.perf_counter()
    host.ping()
    return (time.perf_counter() - began) * 1000


def cancel(stream: Stream[Generated]) -> float:
    """Cancel and wait for the answer."""
    began = time.perf_counter()
    stream.cancel()
    try:
        stream.result  # noqa: B018 -- reading it waits
    except RpcError as error:
        if error.kind == "cancelled":
            return (time.perf_counter() - began) * 1000
        raise
    raise RuntimeError("the request was over before it could be cancelled")


def loading(host: Host) -> float:
    """At the first sign of progress."""
    host.unload(NAME, force=True)
    took: list[float] = []
    began = 0.0

    def on_progress(_: object) -> None:
        nonlocal began
        if not began:
            began = time.perf_counter()
            stream.cancel()

    stream = host.stream("hello", max_tokens=1, on_progress=on_progress)
    try:
        stream.result  # noqa: B018 -- reading it waits
    except RpcError as error:
        if error.kind != "cancelled":
            raise
        took.append((time.perf_counter() - began) * 1000)
    return took[0]


def decoding(host: Host) -> float:
    """After the first piece."""
    stream = host.stream("hello", max_tokens=LONG, ignore_eos=True)
    pieces = stream.pieces()
    next(pieces)
    return cancel(stream)


def queued(host: Host) -> float:
    """Behind a request that runs."""
    running = host.stream("hello", max_tokens=LONG, ignore_eos=True)
    pieces = running.pieces()
    next(pieces)
    waiting = host.stream("hello", max_tokens=LONG)
    host.ping()
    took = cancel(waiting)
    running.cancel()
    return took


def prefilling(host: Host) -> float:
    """In the middle of a prompt of 3,000 tokens."""
    stream = host.stream([5] * 3000, max_tokens=1)
    host.ping()
    return cancel(stream)


if __name__ == "__main__":
    sys.exit(main())
