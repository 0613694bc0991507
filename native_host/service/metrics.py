"""`metrics`: the host's counters and its models' figures, as Prometheus text."""

from __future__ import annotations

import asyncio
import time

from native_host.models.manager import ModelManager
from native_host.protocol.messages import NoParams
from native_host.service.context import RequestContext
from native_host.service.models import ModelsService
from native_host.telemetry.metrics import Counters, ModelFigures


class MetricsService:
    """Handler for `metrics`."""

    def __init__(self, manager: ModelManager, models: ModelsService, counters: Counters) -> None:
        self._manager = manager
        self._models = models
        self._counters = counters
        self._began = time.monotonic()

    async def metrics(self, params: NoParams, context: RequestContext) -> str:
        """Everything that is counted, and the models as they are now."""
        listed = await self._models.list(params, context)
        figures = [
            ModelFigures(each.name, each.state in ("loaded", "draining"), each.memory_bytes, each.requests)
            for each in listed
        ]
        counts = self._manager.events.counts
        events: dict[tuple[str, str, str], int] = {
            (model, what, reason): count for (model, what, reason), count in counts.items()
        }
        uptime_s = time.monotonic() - self._began
        return await asyncio.to_thread(self._counters.exposition, figures, events, uptime_s)
