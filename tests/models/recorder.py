"""Keeps a manager's events, and waits for one."""

from __future__ import annotations

import asyncio

from native_host.models.events import ModelEvent
from native_host.models.manager import ModelManager


class Recorder:
    """Hears everything from its making on."""

    def __init__(self, manager: ModelManager) -> None:
        self.events: list[ModelEvent] = []
        self._news = asyncio.Event()
        manager.events.subscribe(self._take)

    def _take(self, event: ModelEvent) -> None:
        self.events.append(event)
        self._news.set()

    async def until(self, model: str, what: str) -> ModelEvent:
        while True:
            for event in self.events:
                if (event.model, event.what) == (model, what):
                    return event
            self._news.clear()
            await self._news.wait()
