"""Answers each update once, however often Telegram sends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from native_host.store import Store

_OWNER = "telegram updates"
_KEPT_S = 24 * 3600.0
"""Telegram keeps an update for a day at most."""
_MOST_UNDELIVERED = 1000


class _Work:
    """What is being done for an update, and how often it was asked for."""

    def __init__(self, task: asyncio.Task[bytes | None]) -> None:
        self.task = task
        self.asked = 0


class Once:
    """Work on updates, known by their numbers. What nobody waited for any more is kept for who asks again."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._works: dict[int, _Work] = {}

    async def answer(
        self, number: int, work: Callable[[], Awaitable[bytes]], gone: Callable[[], Awaitable[None]]
    ) -> bytes | None:
        """The answer to the update, for who asked last: Telegram asks again when it has given up. None for
        others, where it was given before, and where `gone` returns first: the work goes on all the same.
        Raises what `work` raises, and it is then as if the update had not come.
        """
        found = self._works.get(number) or self._begin(number, work)
        found.asked += 1
        mine = found.asked
        leaving = asyncio.ensure_future(gone())
        try:
            await asyncio.wait({found.task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
        if not found.task.done() or found.asked != mine:
            return None
        self._drop(number, found)
        return found.task.result()

    def _begin(self, number: int, work: Callable[[], Awaitable[bytes]]) -> _Work:
        self._forget_old()
        begun = self._works[number] = _Work(asyncio.ensure_future(self._fresh(number, work)))
        begun.task.add_done_callback(lambda _: self._drop_failed(number, begun))
        return begun

    async def _fresh(self, number: int, work: Callable[[], Awaitable[bytes]]) -> bytes | None:
        if await self._store.get(_OWNER, str(number)) is not None:
            return None
        answer = await work()
        await self._store.set(_OWNER, str(number), b"", _KEPT_S)
        return answer

    def _drop_failed(self, number: int, work: _Work) -> None:
        if work.task.cancelled() or work.task.exception() is not None:
            self._drop(number, work)

    def _drop(self, number: int, work: _Work) -> None:
        if self._works.get(number) is work:
            del self._works[number]

    def _forget_old(self) -> None:
        done = [number for number, work in self._works.items() if work.task.done()]
        for number in done[: max(0, len(done) - _MOST_UNDELIVERED)]:
            del self._works[number]
