"""`native-host models recommend`: what fits this machine, and how fast it would be."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from native_host.cli.opening import opened
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import out, print_json, size, without_controls
from native_host.protocol.messages import ModelsRecommendResult


def recommend(
    context_length: Annotated[
        int, typer.Option("--context-length", min=1, help="Tokens of the longest conversation.")
    ] = 4096,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Show what fits this machine and how fast it would be, best first; no network is asked."""
    with opened(models, socket) as host:
        found = host.recommend(context_length=context_length)
    if json:
        print_json(found)
        return
    out().print(_table(found))
    machine = found.machine
    out().print(
        f"\n{size(machine.available_bytes)} for models; memory is read at "
        f"{machine.read_bytes_per_s / 1e9:.1f} GB/s by {machine.threads} threads"
    )
    out().print(Text(found.explanation, style="dim"))


def _table(found: ModelsRecommendResult) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "weights", "memory", "tokens/s", "how to get it"):
        figures = name in ("weights", "memory", "tokens/s")
        table.add_column(name, justify="right" if figures else "left", overflow="fold")
    for model in found.models:
        way = "is here" if model.installed else model.command or ""
        table.add_row(
            without_controls(model.name),
            size(model.weights_bytes),
            size(model.memory_bytes),
            f"{model.decode_tokens_per_s:.1f}",
            Text(way if model.fits else "does not fit", style="" if model.fits else "dim"),
        )
    return table
