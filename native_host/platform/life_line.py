"""Ends a child process when the host is gone, however the host went."""

from __future__ import annotations

import os
import select
import threading


def exit_with_host(fd: int) -> threading.Thread:
    """Start a thread that ends this process when the other end of a socket or pipe closes.

    A thread of its own, because what runs beside it may be busy and native code may hold it up; `os._exit`,
    because nothing here needs saving and an orderly way out could be the one that hangs.
    """

    def watch() -> None:
        poller = select.poll()
        poller.register(fd, select.POLLHUP)
        while not poller.poll():
            pass
        os._exit(0)

    thread = threading.Thread(target=watch, name="host-watch", daemon=True)
    thread.start()
    return thread
