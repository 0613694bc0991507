"""The command line as a whole: which commands there are. Each one lives in a file of its own."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from native_host import __version__
from native_host.cli.edge import edged

COMMANDS = {
    "chat": "chat",
    "generate": "generate",
    "hardware": "hardware",
    "doctor": "doctor",
    "bench": "bench",
    "config": "config",
    "install": "install",
    "uninstall": "install",
    "serve": "serve",
    "stdio": "stdio",
}
"""By command, the file that it is in."""
GROUPS = ("models", "keys", "grants")
"""Commands of commands: `models` has `models_app`."""


def app() -> None:
    """Run the command that the program's arguments name."""
    arguments = sys.argv[1:]
    program(arguments[0] if arguments else None)()


def program(asked: str | None = None) -> typer.Typer:
    """The program. Where a command of it is asked for, only that one is imported: together they take longer
    to import than a host to answer.
    """
    made = typer.Typer(
        name="native-host",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback(invoke_without_command=True)(main)
    known = asked in COMMANDS or asked in GROUPS
    for name, file in COMMANDS.items():
        if name == asked or not known:
            made.command(name)(edged(getattr(import_module(f"native_host.cli.{file}"), name)))
    for name in GROUPS:
        if name == asked or not known:
            made.add_typer(getattr(import_module(f"native_host.cli.{name}"), f"{name}_app"), name=name)
    return made


def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """A local AI host. Alone, or with a browser's arguments, it speaks length-prefixed JSON-RPC on stdio."""
    if version:
        sys.stdout.write(f"native-host {__version__}\n")
        raise typer.Exit
