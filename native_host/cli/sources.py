"""`native-host models pull`: brings models to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from native_host.cli.opening import opened, running_daemon
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import facts, out, print_json, shown_path, size
from native_host.cli.pulling import PullBar


def pull(
    source: Annotated[
        str,
        typer.Argument(help="hf:OWNER/REPO[:QUANT], file:PATH, or https://…#sha256=…", show_default=False),
    ],
    name: Annotated[str | None, typer.Option("--name", help="What to call the model.")] = None,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Fetch a model, check it, and add it to your models.json; a broken download is gone on with."""
    daemon = None if models is not None else running_daemon(socket)
    with opened(models, daemon) as host, PullBar() as bar:
        done = host.pull(source, name=name, on_progress=bar.show)
    if json:
        print_json(done)
        return
    table = facts()
    table.add_row("model", done.model)
    table.add_row("from", done.source)
    table.add_row("format", done.format)
    table.add_row("size", f"{size(done.size_bytes)}, {size(done.fetched_bytes)} of it fetched now")
    table.add_row("lies at", shown_path(done.path))
    table.add_row("listed in", shown_path(done.models_file))
    out().print(table)
