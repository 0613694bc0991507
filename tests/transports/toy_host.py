"""A host process with the toy service instead of models: `python toy_host.py [arguments]`. Named so in the
tests."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from toy_service import ToyService

from native_host.guard.grants import Grants
from native_host.guard.secrets import read_policy
from native_host.platform import paths, standard_streams
from native_host.settings import Settings
from native_host.telemetry import logs
from native_host.transports import browser, daemon, stdio
from native_host.transports.host import Host
from native_host.transports.unix_socket import SocketServer


async def stop() -> None:
    """Nothing to reap."""


def main() -> None:
    """`--socket PATH` for a daemon, else a child on stdio."""
    settings = Settings.from_env()
    logs.configure(settings.log_level, settings.log_format)
    host = Host(ToyService(), settings, read_policy(None, grants=Grants(paths.grants_file())))
    if sys.argv[1:2] == ["--socket"]:

        def say(listening: daemon.Listening) -> None:
            print(listening.socket, flush=True)  # noqa: T201 - the test waits for it

        asyncio.run(daemon.serve([SocketServer(host, Path(sys.argv[2]))], stop, say))
        return
    descriptors = standard_streams.claim()
    print("stray text from a print")  # noqa: T201
    sys.stdout.flush()
    asyncio.run(stdio.serve(host, descriptors, stop, browser.from_arguments(sys.argv[1:])))


if __name__ == "__main__":
    main()
