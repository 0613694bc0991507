"""A hundred equal requests at once: all must complete, and none much later than the others.

    python benchmarks/burst.py [--model 135m|0.5b|FILE] [--requests 100] [--parallel N]

There is no peer: the goal is the ratio of the 99th percentile of total time to the median.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from harness import ours, running
from harness.models import prompt
from harness.report import AtMost, Report, row
from harness.running import Options

from native_host.client import Host

PROMPT_TOKENS = 64


def main() -> None:
    parser = running.parser(__doc__, rounds=1)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--generated", type=int, default=32, help="tokens of each answer")
    parser.add_argument(
        "--parallel", type=int, help="sequences decoded at once; the host's default unless given"
    )
    arguments = parser.parse_args()
    requests = 8 if arguments.quick else arguments.requests
    running.run(
        arguments, lambda options: [measure(options, requests, arguments.generated, arguments.parallel)]
    )


def measure(options: Options, requests: int, generated: int, parallel: int | None) -> Report:
    entry: dict[str, ours.Key] = {"context_length": 8192, "parallel": parallel}
    with ours.spawned(options.model, entry) as host, ThreadPoolExecutor(requests) as pool:
        host.load(ours.NAME)
        asked = time.perf_counter()
        times = sorted(pool.map(lambda _: answer(host, generated) - asked, range(requests)))
    p50, p99 = statistics.median(times), times[round(0.99 * (len(times) - 1))]
    rows = [row("total time, p99 against p50", "s", p99, p50, AtMost(2.0))]
    return Report(f"{requests} equal requests, all complete", rows, ours="p99", peer="p50")


def answer(host: Host, generated: int) -> float:
    """When a request was done. Raises for one that is not complete."""
    result = host.generate(
        prompt(7, PROMPT_TOKENS), model=ours.NAME, max_tokens=generated, temperature=0.0, ignore_eos=True
    )
    if result.usage.completion_tokens != generated:
        raise RuntimeError(
            f"an answer of {result.usage.completion_tokens} tokens; {generated} were asked for"
        )
    return time.perf_counter()


if __name__ == "__main__":
    main()
