"""Borrows a loaded model for a request, and tells the peer how far its load has come."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from native_host.models.manager import Lease, ModelManager
from native_host.service.context import RequestContext
from native_host.service.reporting import Reporter


@contextlib.asynccontextmanager
async def borrow(manager: ModelManager, name: str | None, context: RequestContext) -> AsyncIterator[Lease]:
    """Lend a model to a request, loading it first if need be. Raises what `ModelManager.use` raises."""
    async with contextlib.AsyncExitStack() as stack:
        async with Reporter(context) as reporter:
            lease = await stack.enter_async_context(manager.use(name, reporter.loading))
        yield lease
