"""A host shared by tasks of one event loop: one task reads, and every request has an inbox of its own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import time
from collections.abc import Mapping

from native_host.client.async_wires import AsyncWire
from native_host.client.errors import BrokenStream, HostDied, HostTimeout
from native_host.client.session import Answer, Event, Failure, Session


class AsyncConnection:
    """Sends requests and hands events to those who wait for them."""

    def __init__(self, wire: AsyncWire, session: Session) -> None:
        self._wire = wire
        self._session = session
        self._inboxes: dict[int, asyncio.Queue[Event]] = {}
        self._end: Exception | None = None
        self._reader = asyncio.create_task(self._read())

    def call(self, method: str, params: Mapping[str, object]) -> AsyncCall:
        """Send a request. Raises what ended the connection, if it has ended."""
        if self._end is not None:
            raise copy.copy(self._end)
        request_id, frame = self._session.request(method, params)
        inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._inboxes[request_id] = inbox
        self._wire.write(frame)
        return AsyncCall(self, request_id, inbox)

    def notify(self, method: str, params: Mapping[str, object]) -> None:
        """Send a notification; without effect once the connection has ended."""
        self._wire.write(self._session.notification(method, params))

    async def close(self) -> None:
        """End the connection, and the host where it is a child; requests under way fail."""
        self._finish(HostDied("this connection has been closed"))
        await self._wire.close()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def _read(self) -> None:
        end: Exception
        try:
            while data := await self._wire.read():
                for event in self._session.receive(data):
                    self._deliver(event)
            end = await self._wire.obituary()
        except BrokenStream as error:
            end = error
        except OSError:
            end = await self._wire.obituary()
        self._finish(end)

    def _deliver(self, event: Event) -> None:
        over = isinstance(event, Answer | Failure)
        inbox = self._inboxes.pop(event.id, None) if over else self._inboxes.get(event.id)
        if inbox is not None:
            inbox.put_nowait(event)

    def _finish(self, end: Exception) -> None:
        self._end = self._end or end
        orphans, self._inboxes = self._inboxes, {}
        for request_id, inbox in orphans.items():
            inbox.put_nowait(Failure(request_id, copy.copy(end)))


class AsyncCall:
    """One request under way; one task waits for it."""

    def __init__(self, connection: AsyncConnection, request_id: int, inbox: asyncio.Queue[Event]) -> None:
        self._connection = connection
        self._id = request_id
        self._inbox = inbox
        self.over = False

    async def next(self, deadline: float | None) -> Event:
        """The next event, waiting for it until `deadline` (as `time.monotonic` counts).

        Raises HostTimeout, having cancelled the request.
        """
        try:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            event = await asyncio.wait_for(self._inbox.get(), remaining)
        except asyncio.TimeoutError:
            self.cancel()
            self.over = True
            raise HostTimeout("the host did not answer in the time it was given") from None
        self.over = isinstance(event, Answer | Failure)
        return event

    def cancel(self) -> None:
        """Ask the host to stop; without effect once the request is over."""
        if not self.over:
            self._connection.notify("$/cancelRequest", {"id": self._id})
