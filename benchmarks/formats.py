"""What a format costs: decoding against a plain loop over its library, eight requests at once against eight
calls one after the other, and how long a model takes to come and to go.

    python benchmarks/formats.py [--model 135m-f16|tiny|builtin|FILE] [--format safetensors|onnx|gguf]
                                 [--part cold|one|eight] [--threads N]

The loops are transformers' own `generate`, and a greedy loop over onnxruntime with IO binding, each in a
process of its own, over the same folder, in float32, with as many threads. FILE is a GGUF file in F16.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from harness import ours, running
from harness.loops import NAMES, Loop, derived, loop
from harness.models import prompt
from harness.report import AtLeast, Goal, Report, Row, row
from harness.running import Options, compared

from native_host.client import Host

FORMATS = ("gguf", "safetensors", "onnx")
PARTS = ("cold", "one", "eight")
ONE, EIGHT = AtLeast(1.0), AtLeast(2.0)
PROMPT = 32
CROWD = 8
CONTEXT = 2048
LOOK_S = 0.002
MB = 1e6


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.set_defaults(model="135m-f16")
    parser.add_argument("--format", choices=FORMATS, action="append", help="all, unless some are named")
    parser.add_argument("--part", choices=PARTS, action="append", help="all, unless some are named")
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    tokens = 256 if arguments.quick else arguments.tokens
    formats: Sequence[str] = arguments.format or FORMATS
    parts: Sequence[str] = arguments.part or PARTS
    running.run(arguments, lambda options: measure(options, formats, parts, tokens))


def measure(options: Options, formats: Sequence[str], parts: Sequence[str], tokens: int) -> list[Report]:
    with tempfile.TemporaryDirectory() as folder:
        return [
            Report(
                f"{format}, threads: {options.threads}",
                rows(options, format, derived(options.model, format, Path(folder)), parts, tokens),
                peer=NAMES.get(format, "").replace("_", " "),
            )
            for format in formats
        ]


def rows(options: Options, format: str, model: Path, parts: Sequence[str], tokens: int) -> list[Row]:
    entry: dict[str, ours.Key] = {
        "type": format,
        "threads": options.threads,
        "context_length": CONTEXT,
        "parallel": CROWD,
    }
    found = []
    with ours.spawned(model, entry) as host:
        if "cold" in parts:
            found += cold(options, host, format, model)
        warm = {"one": one, "eight": eight}
        for part in parts:
            if part in warm:
                found.append(warm[part](options, host, format, model, tokens))
    return found


def cold(options: Options, host: Host, format: str, model: Path) -> list[Row]:
    """From a request to its first token where nothing is loaded, and from unloading until the memory is back.

    The peer of the first is the loop's program, from its start.
    """
    unloading: list[float] = []
    kept: list[float] = []
    before = memory(host)

    def ours_once() -> float:
        seconds = ours.first_token(host, prompt(0, PROMPT))
        began = time.perf_counter()
        host.unload(ours.NAME)
        while workers(host):
            time.sleep(LOOK_S)
        unloading.append(time.perf_counter() - began)
        kept.append((memory(host) - before) / MB)
        return seconds

    def peer_once() -> float:
        began = time.perf_counter()
        with loop(format, model, options.threads) as peer:
            peer.arrivals([prompt(0, PROMPT)], 1)
            return time.perf_counter() - began

    first = measured(options, format, "request to first token, not loaded", "s", ours_once, peer_once)
    return [
        first,
        row("unload to memory returned", "s", sorted(unloading)[len(unloading) // 2]),
        row("memory that the host keeps of it", "MB", max(kept)),
    ]


def one(options: Options, host: Host, format: str, model: Path, tokens: int) -> Row:
    """Tokens a second of a lone stream, after its first piece."""

    def peer_once(peer: Loop) -> float:
        (arrivals,) = peer.arrivals([prompt(0, PROMPT)], tokens)
        return ours.speed([(when, 1) for when in arrivals])

    return with_loop(
        options,
        format,
        model,
        "one stream",
        lambda: ours.decode_speed(host, prompt(0, PROMPT), tokens),
        peer_once,
        ONE,
    )


def eight(options: Options, host: Host, format: str, model: Path, tokens: int) -> Row:
    """Tokens a second of requests at once, prompts included, against as many calls one after the other."""
    prompts = [prompt(who, PROMPT) for who in range(CROWD)]

    def answer(given: list[int]) -> None:
        for _ in ours.arrivals(host, given, tokens):
            pass

    def ours_once() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(CROWD) as pool:
            list(pool.map(answer, prompts))
        return CROWD * tokens / (time.perf_counter() - began)

    def peer_once(peer: Loop) -> float:
        return CROWD * tokens / peer.arrivals(prompts, tokens)[-1][-1]

    return with_loop(options, format, model, f"{CROWD} requests", ours_once, peer_once, EIGHT)


def with_loop(
    options: Options,
    format: str,
    model: Path,
    what: str,
    mine: Callable[[], float],
    theirs: Callable[[Loop], float],
    goal: Goal,
) -> Row:
    """Ours against the format's loop, if it has one."""
    if not options.peers or format not in NAMES:
        return measured(options, format, what, "tokens/s", mine, lambda: 0.0)
    with loop(format, model, options.threads) as peer:
        return measured(options, format, what, "tokens/s", mine, lambda: theirs(peer), goal)


def measured(
    options: Options,
    format: str,
    what: str,
    unit: str,
    mine: Callable[[], float],
    theirs: Callable[[], float],
    goal: Goal | None = None,
) -> Row:
    """As `compared`; GGUF has its peers in other benchmarks."""
    alone = Options(options.model, options.threads, options.rounds, options.quick, peers=False)
    return compared(options if format in NAMES else alone, what, unit, mine, theirs, goal)


def workers(host: Host) -> list[psutil.Process]:
    """Processes that the host has started."""
    return psutil.Process(host.info.server.pid).children(recursive=True)


def memory(host: Host) -> int:
    """Resident memory of the host and all that it has started, in bytes."""
    process = psutil.Process(host.info.server.pid)
    return sum(each.memory_info().rss for each in (process, *workers(host)))


if __name__ == "__main__":
    main()
