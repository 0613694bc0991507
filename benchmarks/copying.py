"""Text that copies its prompt, with and without speculation; and text with nothing to copy.

    python benchmarks/copying.py [--model 135m|0.5b] [--tokens 192] [--threads N]

The model recites: its greedy answer is known beforehand (scripts/recital.py) at the cost of a real model of
its shape. One prompt holds the text that it will answer with, the other does not. In process, by turns, with
`Engine(speculation=...)` on and off.
"""

from __future__ import annotations

import select
import sys
import time
from functools import partial
from pathlib import Path

from harness import running
from harness.models import SYNTHETIC, synthetic
from harness.ours import speed
from harness.report import AtLeast, Report
from harness.running import Options, compared
from tabagent_model import Engine

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from recital import CYCLE, recited  # noqa: E402


def main() -> None:
    parser = running.parser(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, default=192)
    arguments = parser.parse_args()
    if arguments.model not in SYNTHETIC:
        parser.error(f"--model must be one of {', '.join(SYNTHETIC)}: others do not recite")
    tokens: int = 32 if arguments.quick else arguments.tokens
    if tokens >= CYCLE:
        parser.error(f"--tokens must be below {CYCLE}, where the text begins anew")
    recital = synthetic(arguments.model, recites=True)
    running.run(arguments, lambda options: [measure(options, recital, tokens)])


def measure(options: Options, recital: Path, tokens: int) -> Report:
    engines = [
        Engine(recital, threads=options.threads, context_length=2048, speculation=on) for on in (True, False)
    ]
    vocabulary = engines[0].info()["vocab_size"]
    text = recited(vocabulary, 3)
    copied = [*text, text[0]]
    unknown = [*recited(vocabulary, 5), text[0]]
    rows = []
    for what, prompt, goal in (
        ("a text that the prompt holds", copied, AtLeast(2.0)),
        ("a text that it does not hold", unknown, AtLeast(0.98)),
    ):
        with_, without = (partial(answered, engine, prompt, text[1 : tokens + 1]) for engine in engines)
        rows.append(compared(options, what, "tokens/s", with_, without, goal))
    for engine in engines:
        engine.close()
    return Report(f"{tokens} tokens answered", rows, ours="with speculation", peer="without")


def answered(engine: Engine, prompt: list[int], expected: list[int]) -> float:
    """Tokens a second of an answer. Raises RuntimeError where it is not the expected one."""
    engine.submit(prompt, max_tokens=len(expected), temperature=0.0, ignore_eos=True)
    came: list[tuple[float, int]] = []
    tokens: list[int] = []
    while True:
        select.select([engine.fileno()], [], [])
        for event in engine.drain():
            if event["type"] == "piece":
                came.append((time.perf_counter(), len(event["tokens"])))
                tokens += [each["token"] for each in event["tokens"]]
            elif event["type"] == "finished":
                if tokens != expected:
                    raise RuntimeError("the answer is not the text that the model recites")
                return speed(came)


if __name__ == "__main__":
    main()
