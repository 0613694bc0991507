"""A host shared by threads: one thread reads, one writes, and every request has an inbox of its own."""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Mapping

from native_host.client.errors import BrokenStream, HostDied, HostTimeout
from native_host.client.session import Answer, Event, Failure, Session
from native_host.client.wires import Wire


class Connection:
    """Sends requests and hands events to those who wait. Every method may be called from any thread."""

    def __init__(self, wire: Wire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._lock = threading.Lock()
        self._inboxes: dict[int, queue.SimpleQueue[Event]] = {}
        self._end: Exception | None = None
        # A queue rather than a lock around write(): a cancellation may come from a finalizer or a signal
        # handler, and must neither wait for a slow host nor meet a lock that its own thread holds.
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="native-host-reader", daemon=True)
        self._writer = threading.Thread(target=self._write, name="native-host-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    def call(self, method: str, params: Mapping[str, object]) -> Call:
        """Send a request. Raises what ended the connection, if it has ended."""
        request_id, frame = self._session.request(method, params)
        inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        with self._lock:
            if self._end is not None:
                raise copy.copy(self._end)
            self._inboxes[request_id] = inbox
        self._outbox.put(frame)
        return Call(self, request_id, inbox)

    def notify(self, method: str, params: Mapping[str, object]) -> None:
        """Send a notification; without effect once the connection has ended."""
        self._outbox.put(self._session.notification(method, params))

    def close(self) -> None:
        """End the connection, and the host where it is a child; requests under way fail."""
        self._finish(HostDied("this connection has been closed"))
        self._outbox.put(None)
        self._writer.join(timeout=1.0)
        self._wire.end_writing()
        self._wire.close()
        self._reader.join(timeout=1.0)

    def _read(self) -> None:
        end: Exception
        try:
            while data := self._wire.read():
                for event in self._session.receive(data):
                    self._deliver(event)
            end = self._wire.obituary()
        except BrokenStream as error:
            end = error
        except OSError:
            end = self._wire.obituary()
        self._finish(end)

    def _write(self) -> None:
        try:
            while (frame := self._outbox.get()) is not None:
                self._wire.write(frame)
        except (OSError, ValueError):
            return  # the pipe is gone; the reader sees the end too, and knows why
        self._wire.end_writing()

    def _deliver(self, event: Event) -> None:
        over = isinstance(event, Answer | Failure)
        with self._lock:
            inbox = self._inboxes.pop(event.id, None) if over else self._inboxes.get(event.id)
        if inbox is not None:
            inbox.put(event)

    def _finish(self, end: Exception) -> None:
        with self._lock:
            self._end = self._end or end
            orphans, self._inboxes = self._inboxes, {}
        for request_id, inbox in orphans.items():
            inbox.put(Failure(request_id, copy.copy(end)))


class Call:
    """One request under way. It belongs to one thread; only `cancel` may be called from others."""

    def __init__(self, connection: Connection, request_id: int, inbox: queue.SimpleQueue[Event]) -> None:
        self._connection = connection
        self._id = request_id
        self._inbox = inbox
        self.over = False

    def next(self, deadline: float | None) -> Event:
        """The next event, waiting for it until `deadline` (as `time.monotonic` counts).

        Raises HostTimeout, having cancelled the request.
        """
        try:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            event = self._inbox.get(timeout=remaining)
        except queue.Empty:
            self.cancel()
            self.over = True
            raise HostTimeout("the host did not answer in the time it was given") from None
        self.over = isinstance(event, Answer | Failure)
        return event

    def cancel(self) -> None:
        """Ask the host to stop; without effect once the request is over."""
        if not self.over:
            self._connection.notify("$/cancelRequest", {"id": self._id})


def deadline_after(timeout: float | None) -> float | None:
    """The moment, as `time.monotonic` counts, at which a wait of `timeout` seconds ends."""
    return None if timeout is None else time.monotonic() + timeout
