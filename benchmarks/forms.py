"""What a form costs: tokens a second with and without one, in turns, through one spawned host.

    python benchmarks/forms.py [--model 135m|0.5b|FILE] [--tokens 128] [--streams 1 --streams 16]

`cargo bench -p tabagent-engine --bench masks` has the time that a mask takes, for vocabularies of 32,000 and
152,064 tokens.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from harness import ours, running
from harness.models import prompt
from harness.report import AtLeast, Report
from harness.running import Options, compared

from native_host.client import Host

GOALS = {1: AtLeast(0.95), 16: AtLeast(0.9)}
SCHEMA: dict[str, object] = {
    "type": "array",
    "minItems": 1000,
    "items": {"type": "string", "minLength": 20},
}
"""Never complete in a few hundred tokens, and nearly nothing of it is forced."""
FORM: dict[str, object] = {"type": "json_schema", "json_schema": SCHEMA}


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--streams", type=int, action="append", choices=GOALS, help="all unless given")
    arguments = parser.parse_args()
    tokens: int = 32 if arguments.quick else arguments.tokens
    counts: list[int] = arguments.streams or list(GOALS)
    running.run(arguments, lambda options: [measure(options, counts, tokens)])


def measure(options: Options, counts: list[int], tokens: int) -> Report:
    """Both sides are ours, so there is one even where peers are not asked."""
    entry = {"threads": options.threads, "context_length": 2048, "parallel": max(counts)}
    with ours.spawned(options.model, entry) as host:
        host.load(ours.NAME)
        rows = [
            compared(
                options,
                f"{streams} stream{'s' if streams > 1 else ''}",
                "tokens/s",
                lambda streams=streams: speed(host, streams, tokens, FORM),  # type: ignore[misc]
                lambda streams=streams: speed(host, streams, tokens, None),  # type: ignore[misc]
                GOALS[streams],
            )
            for streams in counts
        ]
    return Report(f"{tokens} tokens of a JSON schema", rows, ours="with a form", peer="without")


def speed(host: Host, streams: int, tokens: int, form: dict[str, object] | None) -> float:
    """Tokens a second of all streams, from the first request to the last answer."""
    params = {"response_format": form} if form else {"ignore_eos": True}

    def run(who: int) -> int:
        said = host.generate(
            prompt(who, 16),
            model=ours.NAME,
            max_tokens=tokens,
            temperature=1.0,
            seed=who,
            prefix_cache=False,
            **params,
        )
        return said.usage.completion_tokens

    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        count = sum(pool.map(run, range(streams)))
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
