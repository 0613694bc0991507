"""A real worker process with its model, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import TypeVar

from native_host.workers.launcher import ProcessLauncher
from native_host.workers.messages import Event, Finished, GenerateRequest, LoadRequest, Piece
from native_host.workers.supervisor import Worker

from .cases import Case

T = TypeVar("T")
_STALL_S = 60.0


class Loaded:
    """One worker, on an event loop of its own thread."""

    def __init__(self, case: Case, path: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"contract-{case.backend}")
        self._thread.start()
        self.fractions: list[float] = []
        self.ended = threading.Event()
        request = LoadRequest(case.backend, str(path), case.options)
        try:
            self.worker = self.run(self._start(request))
        except BaseException:
            self._end_loop()
            raise

    async def _start(self, request: LoadRequest) -> Worker:
        return await Worker.start(
            ProcessLauncher(),
            "m",
            request,
            on_progress=self.fractions.append,
            on_end=lambda _: self.ended.set(),
            stall_s=_STALL_S,
        )

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Do something on the loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(100)

    def events(self, request: GenerateRequest) -> list[Event]:
        """Everything that becomes of a request."""
        return self.run(self.collect(request))

    def events_of_all(self, requests: list[GenerateRequest]) -> list[list[Event]]:
        """Everything that becomes of requests that are sent at once."""

        async def together() -> list[list[Event]]:
            return list(await asyncio.gather(*(self.collect(request) for request in requests)))

        return self.run(together())

    async def collect(self, request: GenerateRequest) -> list[Event]:
        """As `events`, on the loop."""
        async with self.worker.generate(request) as batches:
            return [event async for batch in batches for event in batch]

    def close(self) -> None:
        """End the worker and the thread."""
        self.run(self.worker.stop())
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def text(events: list[Event]) -> str:
    """The answer."""
    return "".join(event.text for event in events if isinstance(event, Piece))


def tokens(events: list[Event]) -> list[int]:
    """The answer's tokens."""
    return [token.token for event in events if isinstance(event, Piece) for token in event.tokens]


def end(events: list[Event]) -> Finished:
    """The last event, which must be the only end."""
    assert [event for event in events if isinstance(event, Finished)] == events[-1:]
    last = events[-1]
    assert isinstance(last, Finished)
    return last
