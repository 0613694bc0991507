"""`native-host models`: what there is, what a file says, and what a daemon holds in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from native_host.cli.convert import convert
from native_host.cli.edge import CommandFailed, edged
from native_host.cli.loading import LoadingLine
from native_host.cli.opening import opened, running_daemon
from native_host.cli.options import Json, Models, Socket
from native_host.cli.output import duration, facts, out, print_json, size, without_controls
from native_host.cli.recommend import recommend
from native_host.cli.sources import delete, import_models, pull
from native_host.models.schema import models_schema
from native_host.protocol.messages import ModelInspection, ModelListing

models_app = typer.Typer(
    no_args_is_help=True, help="List, inspect, load, pull, import, delete and recommend models."
)

STATE_STYLES = {"loaded": "green", "loading": "yellow", "draining": "yellow", "absent": "red"}

Name = Annotated[str, typer.Argument(help="A model of the registry.", show_default=False)]


def list_models(json: Json = False, models: Models = None, socket: Socket = None) -> None:
    """List the models of the registry and their state."""
    with opened(models, socket) as host:
        found = host.models()
    if json:
        print_json(found)
    else:
        out().print(_table(found))


def inspect(
    model: Annotated[
        str, typer.Argument(help="A model of the registry, or a file's path.", show_default=False)
    ],
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Show what a model's file says about itself, without loading it."""
    with opened(models, socket) as host:
        found = host.inspect(path=model) if _is_path(model) else host.inspect(model)
    if json:
        print_json(found)
    else:
        _show(found)


def estimate(
    model: Name,
    context_length: Annotated[int | None, typer.Option(min=1, help="The longest single sequence.")] = None,
    parallel: Annotated[int | None, typer.Option(min=1, help="Sequences decoded at once.")] = None,
    gpu_layers: Annotated[int | None, typer.Option(min=-1, help="Layers on a GPU; -1 means all.")] = None,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Foresee how much memory a model would take, without loading it."""
    given = {"context_length": context_length, "parallel": parallel, "gpu_layers": gpu_layers}
    with opened(models, socket) as host:
        found = host.estimate(model, **given)  # type: ignore[arg-type]  # None is left out
    if json:
        print_json(found)
        return
    table = facts()
    table.add_row("model", found.model)
    table.add_row("weights", size(found.weights_bytes))
    table.add_row("KV cache", size(found.kv_bytes))
    table.add_row("scratch", size(found.compute_bytes))
    table.add_row("in all", f"{size(found.total_bytes)}, with the worker itself")
    table.add_row("fits now", "yes" if found.fits else "no")
    out().print(table)


def load(
    model: Name,
    context_length: Annotated[int | None, typer.Option(min=1, help="The longest single sequence.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads to compute with.")] = None,
    keep_alive: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it stays unused: 5m, seconds, -1 for good.")
    ] = None,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Load a model into the running daemon; without one, try whether it loads at all."""
    daemon = None if models is not None else running_daemon(socket)
    options = {"context_length": context_length, "threads": threads, "keep_alive": keep_alive}
    with opened(models, daemon) as host, LoadingLine() as loading:
        done = host.load(model, on_progress=loading.show, **options)  # type: ignore[arg-type]  # None is left out
    if json:
        print_json(done)
        return
    table = facts()
    table.add_row("model", done.model)
    table.add_row("where", "a host of its own, which has ended again" if daemon is None else str(daemon))
    table.add_row("loaded in", f"{done.load_ms / 1000:.2f} s")
    table.add_row("context", f"{done.context_length} tokens")
    if done.memory_bytes is not None:
        table.add_row("memory", size(done.memory_bytes))
    out().print(table)


def unload(
    model: Name,
    force: Annotated[bool, typer.Option("--force", help="Cancel what it is doing.")] = False,
    json: Json = False,
    models: Models = None,
    socket: Socket = None,
) -> None:
    """Unload a model from the running daemon."""
    daemon = running_daemon(socket)
    if daemon is None:
        raise CommandFailed("no daemon is running, so no model is loaded; `native-host serve` starts one")
    with opened(models, daemon) as host:
        host.unload(model, force=force)
    if json:
        print_json({"model": model, "state": "available"})
    else:
        out().print(f"{model} is unloaded")


def schema(json: Json = False, models: Models = None) -> None:
    """Print the JSON Schema of models.json; it is the same whatever the options."""
    print_json(models_schema())


models_app.command("list")(edged(list_models))
models_app.command("inspect")(edged(inspect))
models_app.command("estimate")(edged(estimate))
models_app.command("load")(edged(load))
models_app.command("unload")(edged(unload))
models_app.command("convert")(edged(convert))
models_app.command("schema")(edged(schema))
models_app.command("pull")(edged(pull))
models_app.command("recommend")(edged(recommend))
models_app.command("import")(edged(import_models))
models_app.command("delete")(edged(delete))


def _table(found: list[ModelListing]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("model", "state", "format", "size", "memory", "stays", "context", "can"):
        right = name in ("size", "memory", "context")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for model in found:
        table.add_row(
            model.name,
            Text(model.state, style=STATE_STYLES.get(model.state, "")),
            model.format,
            size(model.size_bytes),
            size(model.memory_bytes),
            _stays(model),
            "–" if model.context_length is None else str(model.context_length),
            ", ".join(model.capabilities),
        )
    return table


def _stays(model: ModelListing) -> str:
    """How long a loaded model stays if nobody uses it."""
    if model.pinned:
        return "pinned"
    if model.state != "loaded":
        return "–"
    if model.requests:
        return f"in use by {model.requests}"
    return "for good" if model.unload_in_s is None else duration(model.unload_in_s)


def _show(found: ModelInspection) -> None:
    table = facts()
    table.add_row("file", found.file)
    for label, value in (
        ("name", found.name),
        ("format", found.format),
        ("architecture", found.architecture),
        ("parameters", None if found.parameters is None else f"{found.parameters:,}"),
        ("size", size(found.size_bytes)),
        ("quantization", found.quantization),
        ("context", None if found.context_length is None else f"{found.context_length} tokens"),
        ("vocabulary", None if found.vocab_size is None else f"{found.vocab_size:,} tokens"),
    ):
        if value is not None:
            table.add_row(label, without_controls(value))
    table.add_row("chat template", "yes" if found.chat_template else "no")
    out().print(table)


def _is_path(text: str) -> bool:
    return "/" in text or text.endswith(".gguf") or Path(text).is_file()
