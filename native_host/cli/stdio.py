"""`native-host stdio`: `__main__` answers it without loading any of this, unless there are options."""

from __future__ import annotations

import os

import typer

from native_host.cli.options import Json, Models
from native_host.platform import standard_streams
from native_host.transports.start import run_stdio


def stdio(json: Json = False, models: Models = None) -> None:
    """Speak length-prefixed JSON-RPC on stdin and stdout, as a parent process expects it.

    --json is taken because every command takes it; frames are JSON with it and without.
    """
    if models is not None:
        os.environ["MODEL_CONFIG_PATH"] = str(models.absolute())
    raise typer.Exit(run_stdio(standard_streams.claim()))
