"""`native-host hardware`: this machine, and the runtime that was chosen for it."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from native_host.cli import machine
from native_host.cli.opening import opened
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import facts, out, print_json, shown_path
from native_host.protocol.messages import HardwareInfoResult

OUTCOME_STYLES = {"chosen": "green", "missing": "dim"}


def hardware(json: Json = False, models: Models = None, socket: Socket = None) -> None:
    """Show the CPU and its variant, memory, GPUs, and which runtime was chosen and why."""
    with opened(models, socket) as host:
        info = host.hardware()
    if json:
        print_json(info)
        return
    console = out()
    console.print(_machine(info))
    console.print()
    console.print(_tried(info))


def _machine(info: HardwareInfoResult) -> Table:
    table = facts()
    table.add_row("CPU", machine.cpu_line(info))
    table.add_row("variant", Text(info.cpu_variant, style="bold"))
    table.add_row("features", machine.feature_line(info))
    table.add_row("caches", machine.cache_line(info))
    table.add_row("memory", machine.memory_line(info))
    for line in machine.gpu_lines(info) or ["none"]:
        table.add_row("GPU", line)
    for label, text in machine.runtime_lines(info):
        table.add_row(label, text)
    return table


def _tried(info: HardwareInfoResult) -> Table:
    table = Table(
        title="Where a runtime was looked for", title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    table.add_column("outcome", header_style="dim")
    table.add_column("path", header_style="dim", overflow="fold")
    table.add_column("reason", header_style="dim", overflow="fold")
    for each in machine.tried(info):
        outcome = str(each.get("outcome", ""))
        style = OUTCOME_STYLES.get(outcome, "yellow")
        table.add_row(
            Text(outcome, style=style), shown_path(str(each.get("path", ""))), str(each.get("reason", ""))
        )
    return table
