"""How fast a prompt is read, through a spawned host over stdio, against llama-bench's `pp`.

    python benchmarks/prefill.py [--model 135m|0.5b|FILE] [--tokens 512] [--threads N]

Our clock runs from asking to the first token. Every prompt is new, so that no prefix is reused.
"""

from __future__ import annotations

import itertools

from harness import ours, peers, running
from harness.models import prompt
from harness.report import AtLeast, Report
from harness.running import Options, compared

GOAL = AtLeast(0.97)


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, default=512)
    arguments = parser.parse_args()
    tokens: int = 32 if arguments.quick else arguments.tokens
    running.run(arguments, lambda options: [measure(options, tokens)])


def measure(options: Options, tokens: int) -> Report:
    who = itertools.count()
    with ours.spawned(options.model, {"threads": options.threads, "context_length": tokens + 64}) as host:
        prefilled = compared(
            options,
            f"{tokens} tokens, {options.threads} threads",
            "tokens/s",
            lambda: tokens / ours.first_token(host, prompt(next(who), tokens)),
            lambda: peers.llama_bench(options.model, options.threads, prompt=tokens),
            GOAL,
        )
    return Report("Prefill", [prefilled], peer="llama-bench pp")


if __name__ == "__main__":
    main()
