"""`native-host serve`: a daemon that several programs of one user share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.text import Text

from native_host.cli.options import Json, Models
from native_host.cli.output import err, print_json
from native_host.http_address import http_address
from native_host.transports.daemon import Listening
from native_host.transports.start import run_daemon
from native_host.units import bytes_of, finite_seconds_of

T = TypeVar("T")


def serve(
    socket: Annotated[
        Path | None,
        typer.Option(
            "--socket",
            metavar="PATH",
            help="Where to listen for frames; the user's runtime folder, unless only HTTP is asked for.",
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="Where to answer HTTP, such as 127.0.0.1:8089; port 0 lets the system choose.",
        ),
    ] = None,
    open_loopback: Annotated[
        bool,
        typer.Option("--open-loopback", help="Answer programs on this machine over HTTP without a key."),
    ] = False,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            "--memory-budget", metavar="SIZE", help="What all models may take, such as 8GB; what there is."
        ),
    ] = None,
    idle_exit: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="End after so long without connections, requests and kept streams, such as 15m.",
        ),
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Listen on a Unix socket, by HTTP, or both, until a signal ends it. Logs go to stderr.

    With --json, a line on stdout says when it listens, and where.
    """

    def listening(where: Listening) -> None:
        if json:
            with contextlib.suppress(BrokenPipeError):  # whoever started it may have gone already
                print_json(where.told())
            return
        for place in where.told().values():
            err().print(Text.assemble(("listening", "green"), f" at {place}; Ctrl-C ends it"), soft_wrap=True)

    code = run_daemon(
        socket,
        listening,
        models_file=models,
        memory_budget=None if memory_budget is None else _read(bytes_of, memory_budget, "--memory-budget"),
        http=None if http is None else _read(http_address, http, "--http"),
        open_loopback=open_loopback or None,
        idle_exit_s=None if idle_exit is None else _read(finite_seconds_of, idle_exit, "--idle-exit"),
    )
    raise typer.Exit(code)


def _read(read: Callable[[str], T], text: str, option: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
