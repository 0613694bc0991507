"""`native-host serve`: a daemon that several programs of one user share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from native_host.cli.options import Json, Models
from native_host.cli.output import err, print_json
from native_host.transports.start import run_socket


def serve(
    socket: Annotated[
        Path | None,
        typer.Option("--socket", metavar="PATH", help="Where to listen; the user's runtime folder."),
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

    raise typer.Exit(run_socket(socket, models, listening))
