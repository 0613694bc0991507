"""`native-host models pull`, `import` and `delete`: models come to this machine, and go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from native_host.cli.opening import opened, running_daemon
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import facts, out, print_json, shown_path, size, without_controls
from native_host.cli.pulling import PullBar
from native_host.protocol.messages import ModelsImportResult

OTHERS = ("ollama", "lmstudio", "huggingface")
STATUS_STYLES = {"added": "green", "known": "dim", "unusable": "red"}


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


def import_models(
    origin: Annotated[
        str,
        typer.Argument(
            metavar="FROM", help="ollama, lmstudio, huggingface, or a folder.", show_default=False
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be added.")] = False,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Use what other programs have downloaded, where it lies: nothing is copied, theirs is not touched."""
    daemon = None if models is not None else running_daemon(socket)
    with opened(models, daemon) as host:
        done = host.import_models(origin if origin in OTHERS else Path(origin), dry_run=dry_run)
    if json:
        print_json(done)
        return
    if not done.models:
        out().print("no models there")
        return
    out().print(_found(done))
    if not dry_run and any(model.status == "added" for model in done.models):
        out().print(f"listed in {shown_path(done.models_file)}")


def delete(
    model: Annotated[str, typer.Argument(help="A model of the registry.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Cancel what it is doing.")] = False,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Forget a model, and remove its files if they were pulled."""
    daemon = None if models is not None else running_daemon(socket)
    with opened(models, daemon) as host:
        done = host.delete(model, force=force)
    if json:
        print_json(done)
        return
    out().print(f"{done.model} is deleted; {size(done.freed_bytes)} are free again")
    for file in done.removed_files:
        out().print(f"  removed {shown_path(file)}")
    if done.kept is not None:
        out().print(f"  kept: {done.kept}")


def _found(done: ModelsImportResult) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "", "format", "size", "lies at"):
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold")
    for model in done.models:
        status = "would be added" if done.dry_run and model.status == "added" else model.status
        table.add_row(
            without_controls(model.model),
            Text(status, style=STATUS_STYLES[model.status]),
            model.format,
            size(model.size_bytes),
            without_controls(shown_path(model.path)),
        )
        for note in ([model.problem] if model.problem else []) + model.notes:
            table.add_row("", "", "", "", Text(without_controls(note), style="dim"))
    return table
