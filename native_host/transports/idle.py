"""Tells when a daemon has had nothing to do for so long that it may go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from native_host.transports.daemon import Server
from native_host.transports.host import Host

_LOOKS = 10
"""How often it is looked, in the time that is waited for."""


async def until_idle(host: Host, servers: Sequence[Server], seconds: float) -> None:
    """Return when for `seconds` there was no connection, no request and no work, and nobody can come any
    more.
    """
    since, begun = time.monotonic(), host.begun
    while True:
        await asyncio.sleep(seconds / _LOOKS)
        if host.busy or host.begun != begun:
            since, begun = time.monotonic(), host.begun
        elif time.monotonic() - since >= seconds and await _nobody_comes(host, servers):
            host.log.info("daemon.idle", seconds=seconds)
            return


async def _nobody_comes(host: Host, servers: Sequence[Server]) -> bool:
    """Whether nobody was just coming in while this host decided to go; then nobody can any more."""
    for server in servers:
        await server.withdraw()
    if not host.busy:
        return True
    for server in servers:
        await server.reopen()
    return False
