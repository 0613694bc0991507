"""The options that commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

Models = Annotated[
    Path | None,
    typer.Option("--models", metavar="FILE", exists=True, dir_okay=False, help="The models.json to use."),
]

Socket = Annotated[
    Path | None,
    typer.Option(
        "--socket", metavar="PATH", help="Ask the daemon that listens there; otherwise a host is started."
    ),
]
