"""Borrows a loaded model for a request, and tells the peer how far its load has come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from native_host.models.manager import Lease, ModelManager
from native_host.service.context import RequestContext


class LoadReporter:
    """Turns a worker's load progress into `$/progress`, the newest figure first where the peer is slow.

    Used as an async context manager: on leaving it in good order the last figure has been sent, and nothing
    is sent afterwards.
    """

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._newest: float | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def report(self, fraction: float) -> None:
        """Take the next figure, 0 to 1."""
        self._newest = fraction
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            await self._news.wait()
            await self._send_newest()

    async def _send_newest(self) -> None:
        self._news.clear()
        fraction, self._newest = self._newest, None
        if fraction is not None:
            await self._context.progress("load", fraction, "loading the model")

    async def __aenter__(self) -> LoadReporter:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if kind is None:
            await self._send_newest()


@contextlib.asynccontextmanager
async def borrow(manager: ModelManager, name: str | None, context: RequestContext) -> AsyncIterator[Lease]:
    """Lend a model to a request, loading it first if need be. Raises what `ModelManager.use` raises."""
    async with contextlib.AsyncExitStack() as stack:
        async with LoadReporter(context) as reporter:
            lease = await stack.enter_async_context(manager.use(name, reporter.report))
        yield lease
