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
from native_host.models.convert.process import convert as run_conversion
from native_host.models.convert.request import Done, Step, Target
from native_host.models.registry import Registry, RegistryError, find_file
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
    json: Json = False,
    models: Models = None,
) -> None:
    """Convert a SafeTensors model to ONNX or GGUF, or quantize a GGUF file."""
    target: Target = to.value
    with LoadingLine() as line:

        def show(step: Step) -> None:
            line.show(Progress(0, stage="convert", fraction=step.fraction, message=step.text))

        done = run_conversion(_path_of(source, models), target, quantize, output.absolute(), show)
    if json:
        print_json({"path": str(output.absolute()), **done.details})
    else:
        _show(output, done)


def _path_of(source: str, models: Path | None) -> Path:
    """What is at the path, else the file of the model of this name."""
    if Path(source).exists():
        return Path(source)
    try:
        file = find_file(models or Settings.from_env().models_file, config_dir())
        spec = Registry.load(file).resolve(source)
    except (RegistryError, SettingsError) as error:
        raise CommandFailed(str(error)) from error
    if spec.file is None or not spec.present():
        raise CommandFailed(f"the model {spec.name!r} is not on this machine")
    return spec.file


def _show(output: Path, done: Done) -> None:
    table = facts()
    table.add_row("made", shown_path(output))
    for name, value in done.details.items():
        if value is not None:
            table.add_row(name.replace("_", " "), f"{value:.2g}" if isinstance(value, float) else str(value))
    out().print(table)
