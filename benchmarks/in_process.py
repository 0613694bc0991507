"""One stream's decode speed against bindings in process: llama-cpp-python and xllamacpp.

    python benchmarks/in_process.py [--model 135m|0.5b|FILE] [--tokens 128] [--threads N]

Ours is measured twice: in process too, and through a spawned host over stdio.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from harness import ours, peers, running
from harness.models import prompt
from harness.report import AtLeast, Report, Row
from harness.running import Options, compared
from tabagent_model import Engine

PACKAGES = ("llama_cpp_python", "xllamacpp")
GOAL = AtLeast(1.05)
PROMPT = prompt(1, 8)


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    tokens: int = 64 if arguments.quick else arguments.tokens
    running.run(arguments, lambda options: measure(options, tokens))


def measure(options: Options, tokens: int) -> list[Report]:
    packages = PACKAGES if options.peers else PACKAGES[:1]
    title = f"One stream, {tokens} tokens, {options.threads} threads"
    reports = []
    with Engine(options.model, threads=options.threads, context_length=2048) as engine:
        rows = [against(options, each, tokens, lambda: decoded(engine, tokens)) for each in packages]
        reports.append(Report(title, rows, ours="tabagent_model in process", peer="package in process"))
    with ours.spawned(options.model, {"threads": options.threads, "context_length": 2048}) as host:
        speed = lambda: ours.decode_speed(host, PROMPT, tokens)  # noqa: E731
        rows = [against(options, each, tokens, speed) for each in packages]
        reports.append(Report(title, rows, peer="package in process"))
    return reports


def against(options: Options, package: str, tokens: int, speed: Callable[[], float]) -> Row:
    question = {"model": str(options.model), "threads": options.threads, "prompt": PROMPT, "tokens": tokens}
    peer = lambda: float(peers.in_process(package, **question)["tokens_per_s"])  # noqa: E731
    return compared(options, package.replace("_", "-"), "tokens/s", speed, peer, GOAL)


def decoded(engine: Engine, tokens: int) -> float:
    """Tokens a second between the first and the last token, in this process."""
    engine.submit(PROMPT, max_tokens=tokens, temperature=0.0, ignore_eos=True)
    came: list[tuple[float, int]] = []
    while True:
        select.select([engine.fileno()], [], [])
        for event in engine.drain():
            if event["type"] == "piece":
                came.append((time.perf_counter(), len(event["tokens"])))
            elif event["type"] == "finished":
                return ours.speed(came)


if __name__ == "__main__":
    main()
