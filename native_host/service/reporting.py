"""Tells the peer how far a load or a pull has come."""

from __future__ import annotations

import asyncio

import msgspec

from native_host.service.context import RequestContext


class Progress(msgspec.Struct, frozen=True):
    """A figure for a `$/progress`; `counted` is bytes done and in all."""

    stage: str
    fraction: float | None
    message: str
    counted: tuple[int, int] | None = None


class Reporter:
    """Turns figures that come at any time into `$/progress`, the newest first where the peer is slow.

    Used as an async context manager: on leaving it in good order the last figure has been sent, and nothing
    is sent afterwards.
    """

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._newest: Progress | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def loading(self, fraction: float) -> None:
        """Take a load's next figure, 0 to 1."""
        self.report(Progress("load", fraction, "loading the model"))

    def report(self, progress: Progress) -> None:
        """Take the next figure."""
        self._newest = progress
        self._news.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_all())

    async def _send_all(self) -> None:
        while True:
            await self._news.wait()
            await self._send_newest()

    async def _send_newest(self) -> None:
        self._news.clear()
        newest, self._newest = self._newest, None
        if newest is not None:
            await self._context.progress(newest.stage, newest.fraction, newest.message, newest.counted)

    async def __aenter__(self) -> Reporter:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if kind is None:
            await self._send_newest()
