"""`native-host config`: the settings that are in force, and where each comes from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from native_host.cli.options import Json, Models
from native_host.cli.output import out, print_json
from native_host.models.registry import Registry, RegistryError, find_file
from native_host.platform.paths import cache_dir, config_dir, default_socket, log_dir
from native_host.settings import VARIABLES, Settings, SettingsError


class Setting(msgspec.Struct, frozen=True):
    """One setting: its value as text, and what set it."""

    name: str
    value: str | None
    source: str


def config(json: Json = False, models: Models = None) -> None:
    """Show the settings in force, and where each comes from."""
    try:
        settings = [*_from_environment(), *_models(models), *_places()]
    except (SettingsError, RegistryError) as error:
        raise typer.BadParameter(str(error)) from error
    if json:
        print_json(settings)
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for each in settings:
        value = Text("–", style="dim") if each.value is None else Text(each.value)
        table.add_row(each.name, value, Text(each.source, style="dim" if each.source == "default" else ""))
    out().print(table)


def _from_environment() -> list[Setting]:
    values = msgspec.structs.asdict(Settings.from_env())
    return [
        Setting(name, _text(value), VARIABLES[name][0] if os.environ.get(VARIABLES[name][0]) else "default")
        for name, value in values.items()
    ]


def _models(named: Path | None) -> list[Setting]:
    settings = Settings.from_env()
    chosen = find_file(named or settings.models_file, config_dir())
    registry = Registry.load(chosen, settings.default_model)
    if named is not None:
        source = "--models"
    elif settings.models_file is not None:
        source = "MODEL_CONFIG_PATH"
    else:
        source = "default" if chosen is None else "found"
    return [
        Setting("models.json", _text(registry.file), source),
        Setting(
            "models", ", ".join(spec.name for spec in registry.specs()), _text(registry.file) or "built in"
        ),
        Setting("model used by default", registry.resolve(None).name, _text(registry.file) or "built in"),
    ]


def _places() -> list[Setting]:
    return [
        Setting(
            "socket",
            str(default_socket()),
            "XDG_RUNTIME_DIR" if os.environ.get("XDG_RUNTIME_DIR") else "default",
        ),
        Setting("configuration folder", str(config_dir()), "default"),
        Setting("cache folder", str(cache_dir()), "default"),
        Setting("log folder", str(log_dir()), "default"),
    ]


def _text(value: Any) -> str | None:  # noqa: ANN401  (whatever a setting holds)
    return None if value is None else str(value)
