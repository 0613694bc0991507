"""Figures, each beside its peer's and its goal: a table for people, JSON for programs."""

from __future__ import annotations

import sys

import msgspec
from rich.console import Console
from rich.table import Table

WIDTH = 110
"""In a pipe or a file."""


class AtLeast(msgspec.Struct, frozen=True, tag=True):
    """The ratio is to be this or more."""

    bound: float

    def met(self, ratio: float) -> bool:
        """Whether it is."""
        return ratio >= self.bound

    def __str__(self) -> str:
        return f"≥ {self.bound:g}"


class AtMost(msgspec.Struct, frozen=True, tag=True):
    """The ratio is to be this or less."""

    bound: float

    def met(self, ratio: float) -> bool:
        """Whether it is."""
        return ratio <= self.bound

    def __str__(self) -> str:
        return f"≤ {self.bound:g}"


Goal = AtLeast | AtMost


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `ratio` is ours to the peer's; None where there is nothing to compare with."""

    what: str
    unit: str
    ours: float
    peer: float | None = None
    ratio: float | None = None
    goal: Goal | None = None


def row(what: str, unit: str, ours: float, peer: float | None = None, goal: Goal | None = None) -> Row:
    """A figure, and its ratio to the peer's."""
    ratio = ours / peer if peer else None
    return Row(what=what, unit=unit, ours=ours, peer=peer, ratio=ratio, goal=goal)


class Report(msgspec.Struct, frozen=True):
    """What one benchmark found. `ours` and `peer` name the columns."""

    title: str
    rows: list[Row]
    ours: str = "host over stdio"
    peer: str = "peer"


def show(reports: list[Report], as_json: bool) -> None:
    """Print them on stdout."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(reports).decode() + "\n")
        return
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    for report in reports:
        console.print(_table(report))


def _table(report: Report) -> Table:
    table = Table(title=report.title, title_justify="left")
    for column in ("", report.ours, report.peer, "", "ratio", "goal"):
        table.add_column(column, justify="right" if column in (report.ours, report.peer, "ratio") else "left")
    for each in report.rows:
        style = None
        if each.goal is not None and each.ratio is not None:
            style = "green" if each.goal.met(each.ratio) else "yellow"
        table.add_row(
            each.what,
            _number(each.ours),
            "" if each.peer is None else _number(each.peer),
            each.unit,
            "" if each.ratio is None else f"{each.ratio:.3f}",
            "" if each.goal is None else str(each.goal),
            style=style,
        )
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
