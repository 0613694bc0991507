"""The options that all benchmarks have, and what they do with them."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from harness.models import SYNTHETIC, chosen_model
from harness.report import Goal, Report, Row, row, show


class Options(msgspec.Struct, frozen=True):
    """`quick` is for trying whether a benchmark works: one round of the smallest size. Without `peers`
    nothing but our side is measured.
    """

    model: Path
    threads: int
    rounds: int
    quick: bool
    peers: bool


def parser(documentation: str | None, rounds: int) -> argparse.ArgumentParser:
    """A parser with the common options; a benchmark adds its own."""
    made = argparse.ArgumentParser(
        description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--model", default="135m", help=f"{', '.join(SYNTHETIC)}, builtin, or a GGUF file")
    made.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1)
    made.add_argument("--rounds", type=int, default=rounds, help="each side is measured so often, in turns")
    made.add_argument("--quick", action="store_true", help="one round of the smallest size")
    made.add_argument("--without-peers", action="store_true", help="measure our side alone")
    made.add_argument("--json", action="store_true", help="print JSON")
    return made


def run(arguments: argparse.Namespace, measure: Callable[[Options], list[Report]]) -> None:
    """Measure, and show what was found."""
    rounds = 1 if arguments.quick else arguments.rounds
    model = chosen_model(arguments.model)
    peers = not arguments.without_peers
    options = Options(model, arguments.threads, rounds, arguments.quick, peers)
    show(measure(options), arguments.json)


def compared(
    options: Options,
    what: str,
    unit: str,
    ours: Callable[[], float],
    peer: Callable[[], float],
    goal: Goal | None = None,
) -> Row:
    """Medians of both sides, and of the turns' ratios.

    Machines drift, so the sides take turns; a first turn warms both up and does not count.
    """
    if not options.peers:
        return row(what, unit, statistics.median([ours() for _ in range(options.rounds)]), goal=goal)
    turns = [(ours(), peer()) for _ in range(options.rounds + 1)][1:]
    mine, theirs = (statistics.median(column) for column in zip(*turns, strict=True))
    ratio = statistics.median(our / their for our, their in turns)
    return Row(what=what, unit=unit, ours=mine, peer=theirs, ratio=ratio, goal=goal)
