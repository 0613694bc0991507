"""The host that a command talks to: a child of its own, or a daemon that already runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from native_host.client import Host
from native_host.guard.secrets import SecretError, read_secret
from native_host.platform.paths import default_socket

CLI_NAME = "native-host command line"


@contextmanager
def opened(models: Path | None, socket: Path | None) -> Iterator[Host]:
    """A host for as long as the context is open.

    What it is to be shown as proof comes from the same variables that tell a host what to ask for; the secret
    is taken out of the environment, so that a child learns it by a pipe only.
    """
    if models is not None and socket is not None:
        raise typer.BadParameter("--models is for a host that is started here; a daemon has its own")
    try:
        secret = read_secret()
    except SecretError as error:
        raise typer.BadParameter(str(error)) from error
    api_key = os.environ.get("NATIVE_HOST_API_KEY")
    if socket is not None:
        host = Host.connect(socket, secret=secret, api_key=api_key, name=CLI_NAME)
    else:
        host = Host.spawn(models=models, secret=secret, api_key=api_key, name=CLI_NAME)
    with host:
        yield host


def running_daemon(socket: Path | None) -> Path | None:
    """The socket that was named, else the default one if something is there."""
    if socket is not None:
        return socket
    default = default_socket()
    return default if default.is_socket() else None
