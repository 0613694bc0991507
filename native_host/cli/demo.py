"""The demo, as `scripts/demo` runs it: `python -m native_host.cli.demo ["a question"]`.

It does what any parent does: spawn a host, ask it, print the answer as it streams. What it shows was measured
in this run.
"""

from __future__ import annotations

import time

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from native_host.cli import machine
from native_host.cli.edge import edged
from native_host.cli.loading import LoadingLine
from native_host.cli.opening import opened
from native_host.cli.output import facts, out
from native_host.cli.speaking import figures, speak
from native_host.client import Host
from native_host.protocol.messages import HardwareInfoResult

QUESTION = "What is a runtime pack?"


def demo(question: str = typer.Argument(QUESTION, help="What to ask the built-in model.")) -> None:
    """Spawn a host, ask the built-in model, and show the answer as it comes."""
    console = out()
    started = time.perf_counter()
    with opened(None, None) as host:
        ready = time.perf_counter() - started
        show(host, question, ready, console)


def show(host: Host, question: str, ready_s: float, console: Console) -> None:
    """The whole demo on one console. `ready_s`: seconds from the host's spawn to the end of the handshake."""
    console.print(_machine(host, host.hardware(), ready_s))
    console.print()
    console.print(Text.assemble(("you  ", "bold cyan"), question))
    console.print(Text("host ", style="bold green"), end="")
    with LoadingLine() as loading:
        stream = host.chat(question, on_progress=loading.show)
        speak(stream, console, loading)
    console.print()
    console.print(Text(figures(stream.result), style="dim"))


def _machine(host: Host, info: HardwareInfoResult, ready_s: float) -> Table:
    table = facts()
    table.add_row("CPU", machine.cpu_line(info))
    table.add_row("features", machine.feature_line(info))
    table.add_row("CPU variant", Text(info.cpu_variant, style="bold"))
    for label, text in machine.runtime_lines(info):
        table.add_row(label, text)
    table.add_row(
        "host", f"process {host.info.server.pid}, a child of this one, ready in {ready_s * 1000:.0f} ms"
    )
    return table


def main() -> None:
    """Entry point."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(edged(demo))
    app()


if __name__ == "__main__":
    main()
