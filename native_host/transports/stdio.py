"""The host as a child process: frames on the standard streams that `platform.standard_streams` put aside.

One connection, and it is the reason to live: when its input ends, or the parent dies, everything stops within
two seconds and the process exits.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from native_host.platform import parent
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.transports.asyncio_pipe import Ends, TransportPipe
from native_host.transports.browser import BrowserParent
from native_host.transports.connection import Connection
from native_host.transports.descriptors import as_pipe_in, as_pipe_out
from native_host.transports.ending import exit_after, within
from native_host.transports.host import Host

_FLUSH_S = 0.5
_STOP_S = 1.0
_DEADLINE_S = 1.8


async def serve(
    host: Host,
    descriptors: tuple[int, int],
    stop: Callable[[], Awaitable[None]],
    browser: BrowserParent | None,
) -> None:
    """Speak with the parent until it goes. `stop` ends the service and reaps its workers; it is given a
    second.

    From the moment of the parent's going, the process has `_DEADLINE_S` to live, come what may.
    """
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    reading, writing = Ends(), Ends()
    target, copier = as_pipe_out(descriptors[1])
    writer, _ = await loop.connect_write_pipe(lambda: writing, target)
    reader, _ = await loop.connect_read_pipe(lambda: reading, as_pipe_in(descriptors[0]))
    connection = Connection(
        host,
        TransportPipe(reader, writer, host.settings.out_queue),
        name="stdio",
        on_end=lambda _: over.set(),
        origin=browser.origin if browser else None,
        max_frame_out=browser.max_frame_out if browser else MAX_FRAME_BYTES,
    )
    reading.connection = writing.connection = connection
    stop_watching = parent.watch(loop, connection.end)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, connection.end)
    await over.wait()
    exit_after(_DEADLINE_S)
    stop_watching()
    await within(_STOP_S, stop())
    await within(_FLUSH_S, writing.lost)
    if copier is not None:
        await within(_FLUSH_S, asyncio.to_thread(copier.join))
