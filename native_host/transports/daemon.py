"""The host as a daemon: listens in one or several ways until a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from native_host.http_address import HttpAddress
from native_host.transports.ending import exit_after

_DEADLINE_S = 5.0
"""For all of a daemon's end: service managers send SIGKILL some time after SIGTERM."""


class Listening(msgspec.Struct):
    """Where a daemon listens."""

    socket: Path | None = None
    http: HttpAddress | None = None

    def told(self) -> dict[str, str]:
        """Each place as text, by the way in."""
        places = {"socket": self.socket and str(self.socket), "http": self.http and self.http.url}
        return {way: place for way, place in places.items() if place}


class Server(Protocol):
    """One way in."""

    async def open(self) -> None:
        """Begin to listen. Raises OSError where that cannot be."""

    def tell(self, listening: Listening) -> None:
        """Say where, once it is open."""

    async def withdraw(self) -> None:
        """Be found by nobody new. Whoever had found it before is let in when this returns."""

    async def reopen(self) -> None:
        """Be found again. Raises OSError."""

    async def close(self) -> None:
        """End what runs, and listen no more."""


class CannotServeError(Exception):
    """A way in cannot be had; the text is one line for the user."""


async def serve(
    servers: Sequence[Server],
    stop: Callable[[], Awaitable[None]],
    on_listening: Callable[[Listening], None] | None = None,
    until: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Listen until SIGTERM or SIGINT, or until `until` returns; then end everything. `on_listening` is told
    when peers can connect.
    """
    over = asyncio.Event()
    listening = Listening()
    async with contextlib.AsyncExitStack() as opened:
        for server in servers:
            await server.open()
            opened.push_async_callback(server.close)
            server.tell(listening)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, over.set)
        if on_listening is not None:
            on_listening(listening)
        await _first_of(over, until)
        exit_after(_DEADLINE_S)
    await stop()


async def _first_of(over: asyncio.Event, until: Callable[[], Awaitable[None]] | None) -> None:
    if until is None:
        await over.wait()
        return
    ways = {asyncio.ensure_future(over.wait()), asyncio.ensure_future(until())}
    done, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    for way in pending:
        way.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for way in done:
        way.result()
