"""`native-host serve`: a daemon that several programs of one user share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from native_host.cli.options import Json, Models
from native_host.cli.output import err, print_json
from native_host.transports.start import run_socket
from native_host.units import bytes_of


def serve(
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="PATH", help="Where to listen; the user's runtime folder."),
    ] = None,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            "--memory-budget", metavar="SIZE", help="What all models may take, such as 8GB; what there is."
        ),
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Listen on a Unix socket until a signal ends it. Logs go to stderr.

    With --json, a line on stdout says when it listens, and where.
    """

    def listening(path: Path) -> None:
        if json:
            print_json({"socket": str(path)})
        else:
            err().print(Text.assemble(("listening", "green"), f" at {path}; Ctrl-C ends it"), soft_wrap=True)

    budget = None if memory_budget is None else _size(memory_budget)
    raise typer.Exit(run_socket(socket, listening, models_file=models, memory_budget=budget))


def _size(text: str) -> int:
    try:
        return bytes_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--memory-budget") from None
