"""One stream's decode speed through a spawned host over stdio, against llama-bench's `tg`.

    python benchmarks/one_stream.py [--model 135m|0.5b|FILE] [--tokens 128] [--threads N]

Same file, same threads. The default of a host leaves a core free while decoding, so that is measured too.
"""

from __future__ import annotations

from harness import ours, peers, running
from harness.report import AtLeast, Report, Row
from harness.running import Options, compared

PROMPT = "The host answers"
GOAL = AtLeast(0.97)


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    tokens: int = 64 if arguments.quick else arguments.tokens
    running.run(arguments, lambda options: [measure(options, tokens)])


def measure(options: Options, tokens: int) -> Report:
    counts = sorted({1, options.threads})
    rows = [with_threads(options, threads, tokens) for threads in counts]
    return Report(f"One stream, {tokens} tokens", rows, peer="llama-bench tg")


def with_threads(options: Options, threads: int, tokens: int) -> Row:
    with ours.spawned(options.model, {"threads": threads, "context_length": 2048}) as host:
        return compared(
            options,
            f"{threads} thread{'s' if threads > 1 else ''}",
            "tokens/s",
            lambda: ours.decode_speed(host, PROMPT, tokens),
            lambda: peers.llama_bench(options.model, threads, generate=tokens),
            GOAL,
        )


if __name__ == "__main__":
    main()
