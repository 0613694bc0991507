"""Events on their way out of a backend written in Python, and the descriptor that tells of them."""

from __future__ import annotations

import os
import threading

from native_host.workers.messages import Event


class Outbox:
    """A queue that any thread may fill; its descriptor is readable exactly while it holds events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._readable, self._writable = os.pipe()

    def push(self, event: Event) -> None:
        """Add an event."""
        with self._lock:
            if not self._events:
                os.write(self._writable, b"\0")
            self._events.append(event)

    def drain(self) -> list[Event]:
        """Take all events, in order."""
        with self._lock:
            if self._events:
                os.read(self._readable, 1)
            events, self._events = self._events, []
            return events

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._readable

    def close(self) -> None:
        """Give the descriptors back; nothing may be pushed any more."""
        os.close(self._writable)
        os.close(self._readable)
