"""`native-host models convert`: one format out of another."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from native_host.cli.edge import CommandFailed
from native_host.cli.loading import LoadingLine
from native_host.cli.options import Json, Models
from native_host.cli.output import facts, out, print_json, shown_path
from native_host.client import Progress
from native_host.models import user_file
from native_host.models.convert.process import convert as run_conversion
from native_host.models.convert.request import Done, Step, Target
from native_host.models.registry import Registry, RegistryError, find_file
from native_host.models.spec import ModelEntry
from native_host.platform.paths import config_dir
from native_host.settings import Settings, SettingsError


class TargetName(str, Enum):
    """The formats that can be made."""

    onnx = "onnx"
    gguf = "gguf"


def convert(
    source: Annotated[
        str,
        typer.Argument(
            help="A model of the registry, or the path of its folder or file.", show_default=False
        ),
    ],
    to: Annotated[TargetName, typer.Option("--to", help="The format to make.")],
    output: Annotated[
        Path, typer.Option("--out", help="Where the result goes: a folder for onnx, a .gguf file for gguf.")
    ],
    quantize: Annotated[
        str | None,
        typer.Option(help="How weights are stored: F16, INT8, INT4 in onnx; F16, Q8_0, Q4_K_M … in gguf."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Enter the result into your own models.json under this name.", show_default=False),
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Convert a SafeTensors model to ONNX or GGUF, or quantize a GGUF file."""
    target: Target = to.value
    if name is not None:
        _refuse_taken(name, models)
    with LoadingLine() as line:

        def show(step: Step) -> None:
            line.show(Progress(0, stage="convert", fraction=step.fraction, message=step.text))

        done = run_conversion(_path_of(source, models), target, quantize, output.absolute(), show)
    if name is not None:
        _enter(name, ModelEntry(path=str(output.absolute()), type=target))
    if json:
        print_json({"path": str(output.absolute()), "model": name, **done.details})
    else:
        _show(output, name, done)


def _path_of(source: str, models: Path | None) -> Path:
    """What is at the path, else the file of the model of this name."""
    if Path(source).exists():
        return Path(source)
    spec = _registry(models).resolve(source)
    if spec.file is None or not spec.present():
        raise CommandFailed(f"the model {spec.name!r} is not on this machine")
    return spec.file


def _registry(models: Path | None) -> Registry:
    """All models that a host would know here: those of the user's own file too."""
    try:
        users = config_dir() / "models.json"
        registry = Registry.load(find_file(models or Settings.from_env().models_file, config_dir()))
        if users.is_file() and registry.file != users:
            registry.take_in(Registry.load(users))
        return registry
    except (RegistryError, SettingsError) as error:
        raise CommandFailed(str(error)) from error


def _refuse_taken(name: str, models: Path | None) -> None:
    """Before hours of work: a name that another model has."""
    if _registry(models).get(name) is not None:
        raise CommandFailed(f"{name!r} is a model already; give another name")


def _enter(name: str, entry: ModelEntry) -> None:
    try:
        config_dir().mkdir(parents=True, exist_ok=True)
        user_file.add(config_dir() / "models.json", {name: entry})
    except (RegistryError, OSError) as error:
        raise CommandFailed(f"{entry.path} is made, but could not be entered: {error}") from error


def _show(output: Path, name: str | None, done: Done) -> None:
    table = facts()
    table.add_row("made", shown_path(output))
    if name is not None:
        table.add_row("model", name)
    for name, value in done.details.items():
        if value is not None:
            table.add_row(name.replace("_", " "), f"{value:.2g}" if isinstance(value, float) else str(value))
    out().print(table)
