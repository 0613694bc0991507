"""Borrows a loaded model for a request, and tells the peer how far its load has come. A request that loses
nothing by being asked again is: of another worker, where one died.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from native_host.models.manager import Lease, ModelManager
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.service.context import RequestContext
from native_host.service.reporting import Reporter
from native_host.units import seconds_of

T = TypeVar("T")
KeepAlive = str | int | float | None
"""How long the model stays loaded after the request, if nobody uses it; `None` leaves that as it is."""


@contextlib.asynccontextmanager
async def borrow(
    manager: ModelManager, name: str | None, context: RequestContext, keep_alive: KeepAlive = None
) -> AsyncIterator[Lease]:
    """Lend a model to a request, loading it first if need be. Raises what `ModelManager.use` raises, and
    invalid_params.
    """
    keep_alive_s = None if keep_alive is None else _seconds(keep_alive)
    async with contextlib.AsyncExitStack() as stack:
        async with Reporter(context) as reporter:
            lease = await stack.enter_async_context(manager.use(name, reporter.loading, keep_alive_s))
        yield lease


async def ask(
    manager: ModelManager,
    name: str | None,
    context: RequestContext,
    question: Callable[[Lease], Awaitable[T]],
    keep_alive: KeepAlive = None,
) -> T:
    """Have a model's worker answer what changes nothing in it; another one where the first dies.

    Raises what `ModelManager.use` and `question` raise.
    """
    asked = False

    async def run() -> T:
        nonlocal asked
        async with borrow(manager, name, context, keep_alive) as lease:
            asked = True
            return await question(lease)

    return await once_more(run, lambda: asked)


async def once_more(run: Callable[[], Awaitable[T]], repeatable: Callable[[], bool]) -> T:
    """Ask another worker where one died with a request that is `repeatable` then: it was dead already, or
    died of somebody else's request. Once, because it may have been this request after all.
    """
    try:
        return await run()
    except RpcError as error:
        if error.kind != "worker_crashed" or not repeatable():
            raise
    try:
        return await run()
    except RpcError as error:
        if error.kind != "worker_crashed":
            raise
        raise errors.worker_crashed_again(error, attempts=2) from error


def _seconds(keep_alive: str | float) -> float:
    try:
        return seconds_of(keep_alive)
    except ValueError as error:
        raise errors.invalid_params("keep_alive", str(error)) from None
