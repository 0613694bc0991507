"""Where a command's words go: results to stdout, everything else to stderr; colours on terminals only.

rich honours NO_COLOR by itself. Markup is off, so a bracket in a name is a bracket; text that a model made is
stripped of control characters before it meets a terminal.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 10_000
KEPT_CONTROLS = {ord("\n"), ord("\t")}
CONTROLS = {code: None for code in (*range(0x20), 0x7F, *range(0x80, 0xA0)) if code not in KEPT_CONTROLS}


def out() -> Console:
    """The console for results. In a pipe nothing is wrapped: what reads it splits at line ends."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def err() -> Console:
    """The console for progress, hints and errors."""
    return Console(stderr=True, highlight=False, markup=False)


def print_json(value: object) -> None:
    """One JSON document on stdout: indented on a terminal, one line elsewhere."""
    encoded = msgspec.json.encode(value)
    if sys.stdout.isatty():
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.write(encoded.decode() + "\n")
    sys.stdout.flush()


def without_controls(text: str) -> str:
    """Text that cannot move the cursor or set colours: no control characters but newline and tab."""
    return text.translate(CONTROLS)


def facts(title: str | None = None) -> Table:
    """An empty two-column table, name and value."""
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def shown_path(path: str | Path) -> str:
    """A path as short as it can be and still be pasted: from here, or from the home folder."""
    whole = Path(path)
    if whole.is_relative_to(Path.cwd()):
        return str(whole.relative_to(Path.cwd()))
    if whole.is_relative_to(Path.home()):
        return str(Path("~") / whole.relative_to(Path.home()))
    return str(whole)


def size(bytes_: int | None) -> str:
    """Bytes for people, in powers of 1024."""
    if bytes_ is None:
        return "–"
    value = float(bytes_)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """A time for people: its two largest units."""
    whole = int(seconds)
    for unit, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit} {name} {rest} {smaller_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"
