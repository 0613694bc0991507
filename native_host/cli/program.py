"""The command line as a whole: which commands there are. Each one lives in the file of its name."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from native_host import __version__
from native_host.cli.bench import bench
from native_host.cli.chat import chat
from native_host.cli.config import config
from native_host.cli.doctor import doctor
from native_host.cli.edge import edged
from native_host.cli.generate import generate
from native_host.cli.hardware import hardware
from native_host.cli.keys import keys_app
from native_host.cli.models import models_app
from native_host.cli.serve import serve
from native_host.cli.stdio import stdio

app = typer.Typer(
    name="native-host",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """A local AI host. Alone, or with a browser's arguments, it speaks length-prefixed JSON-RPC on stdio."""
    if version:
        sys.stdout.write(f"native-host {__version__}\n")
        raise typer.Exit


for command in (chat, generate, hardware, doctor, bench, config, serve, stdio):
    app.command()(edged(command))
app.add_typer(models_app, name="models")
app.add_typer(keys_app, name="keys")
