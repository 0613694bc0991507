"""Many requests at once: a spawned host over stdio against llama-server, the same file and threads, in turns.

    python scripts/build_runtime.py --tools          # builds llama-server from the same sources, once
    python benchmarks/crowd.py --llama-server PATH [--model FILE.gguf] [--scenario long|together|throughput]

- long: four running streams, then a prompt of 4,000 tokens; the longest gap between two tokens of a stream
  while it is prefilled, and the newcomer's first token.
- together: sixteen clients at once with one system prompt of 1,000 tokens; the median time to the first
  token.
- throughput: sixteen clients, 64 tokens in, 48 out, four times over; tokens generated a second.

Without --model a 135M Q8_0 model of random weights is made.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from one_stream import made_model
from rich.console import Console
from rich.table import Table

from native_host.client import Host

CONTEXT = 8192
SEQUENCES = 16

Stream = Callable[[list[int], int], Iterator[float]]
"""(prompt's token ids, tokens to generate) to the times at which tokens arrived."""
Figures = dict[str, float]


def prompt(who: int, length: int) -> list[int]:
    """Token ids that share no beginning with another `who`'s."""
    return [300 + (who * 7919 + i * 31 + i * i * 7) % 20000 for i in range(length)]


def long(stream: Stream) -> Figures:
    arrivals: list[list[float]] = [[] for _ in range(4)]
    started = threading.Barrier(5)
    over = threading.Event()

    def run(who: int) -> None:
        for count, at in enumerate(stream(prompt(who, 32), 2000), 1):
            arrivals[who].append(at)
            if count == 20:
                started.wait()
            if over.is_set():
                return

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, who) for who in range(4)]
        started.wait()
        asked = time.perf_counter()
        answered = next(stream(prompt(9, 4000), 4))
        over.set()
        for each in runs:
            each.result()
    gaps = [
        after - before
        for times in arrivals
        for before, after in itertools.pairwise(times)
        if after > asked and before < answered
    ]
    return {"longest gap, s": max(gaps), "newcomer's first token, s": answered - asked}


def together(stream: Stream) -> Figures:
    system = prompt(50, 1000)
    asked = time.perf_counter()
    firsts = in_parallel(lambda who: next(stream(system + prompt(who, 20), 32)) - asked, SEQUENCES)
    return {"median time to first token, s": statistics.median(firsts)}


def throughput(stream: Stream) -> Figures:
    began = time.perf_counter()
    tokens = in_parallel(
        lambda who: sum(sum(1 for _ in stream(prompt(100 + 16 * turn + who, 64), 48)) for turn in range(4)),
        SEQUENCES,
    )
    return {"tokens/s": sum(tokens) / (time.perf_counter() - began)}


SCENARIOS: dict[str, Callable[[Stream], Figures]] = {
    "long": long,
    "together": together,
    "throughput": throughput,
}


def in_parallel(work: Callable[[int], float], count: int) -> list[float]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


@contextmanager
def our_host(model: Path, threads: int | None) -> Iterator[Stream]:
    entry = {"type": "gguf", "path": str(model), "context_length": CONTEXT, "parallel": SEQUENCES}
    if threads is not None:
        entry["threads"] = threads
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "models.json"
        registry.write_text(json.dumps({"models": {"bench": entry}}), encoding="utf-8")
        with Host.spawn(models=registry) as host:
            host.load("bench")

            def stream(tokens: list[int], count: int) -> Iterator[float]:
                asked = host.stream(
                    tokens, model="bench", max_tokens=count, temperature=0.0, ignore_eos=True, logprobs=0
                )
                for piece in asked.pieces():
                    now = time.perf_counter()
                    yield from (now for _ in piece.logprobs or ())

            yield stream


@contextmanager
def llama_server(program: Path, model: Path, threads: int) -> Iterator[Stream]:
    port = free_port()
    command = [
        *(str(program), "-m", str(model), "-t", str(threads), "--port", str(port), "-np", str(SEQUENCES)),
        *("-c", str(CONTEXT), "--kv-unified", "--no-webui"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until_healthy(port)
            yield lambda tokens, count: completion(port, tokens, count)
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(port: int) -> None:
    """Ask until the server says that it is ready. Raises TimeoutError after a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with http_answer(port, "GET", "/health", None) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise TimeoutError("llama-server did not become ready")


@contextmanager
def http_answer(
    port: int, method: str, path: str, body: dict[str, Any] | None
) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request(
            method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"}
        )
        yield connection.getresponse()
    finally:
        connection.close()


def completion(port: int, tokens: list[int], count: int) -> Iterator[float]:
    body = {"prompt": tokens, "n_predict": count, "temperature": 0.0, "ignore_eos": True, "stream": True}
    with http_answer(
        port, "POST", "/completion", {**body, "cache_prompt": True, "return_tokens": True}
    ) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                event = json.loads(line[6:])
                now = time.perf_counter()
                if not event.get("stop"):
                    yield from (now for _ in event.get("tokens") or ())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--llama-server", type=Path, required=True, help="the peer")
    parser.add_argument("--model", type=Path, help="a GGUF file")
    parser.add_argument("--scenario", choices=SCENARIOS, action="append", help="all unless given")
    parser.add_argument("--threads", type=int, help="of both; ours chooses unless given, the peer has 2")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = arguments.model or made_model(Path(folder))
        for name in arguments.scenario or SCENARIOS:
            with our_host(model, arguments.threads) as stream:
                ours = SCENARIOS[name](stream)
            with llama_server(arguments.llama_server, model, arguments.threads or 2) as stream:
                peers = SCENARIOS[name](stream)
            show(name, ours, peers)
    return 0


def show(name: str, ours: Figures, peers: Figures) -> None:
    table = Table(title=name)
    for column in ("", "host over stdio", "llama-server", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for figure, value in ours.items():
        table.add_row(figure, f"{value:.2f}", f"{peers[figure]:.2f}", f"{value / peers[figure]:.3f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
