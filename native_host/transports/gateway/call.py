"""One HTTP request's call of the host: runs it, hands on what it streams, and ends it early when the client
leaves, its time is over, or the host goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import Params, TokenLogprob, ToolCallDelta
from native_host.transports.host import Host
from native_host.transports.in_flight import InFlight

_MAX_WAITING = 64
"""How many pieces may wait for a client before its generation does. The connection holds some more."""


class Piece(Struct, frozen=True):
    """The next piece of a request's text; `index` where it has several."""

    text: str
    index: int | None = None
    logprobs: list[TokenLogprob] | None = None
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] | None = None


class Progress(Struct, frozen=True):
    """How far a load or a pull has come."""

    stage: str
    fraction: float | None
    message: str
    counted: tuple[int, int] | None = None


class GatewayRequest(InFlight):
    """What the handler of an HTTP request sees of it (`service.context.RequestContext`).

    `batches` is for whoever sends its pieces on, `result` for whoever sends its answer; `on_end` is told
    when it has one.
    """

    def __init__(self, host: Host, identity: Identity, method: str, with_progress: bool = False) -> None:
        super().__init__(host, identity, method, "http")
        self._with_progress = with_progress
        self._waiting: list[Piece | Progress] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._outcome: object = None
        self._error: RpcError | None = None
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None
        self.on_end: Callable[[GatewayRequest], object] | None = None

    # For the handler

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        """Hand on a piece; an empty one is not. Waits while the client does not read."""
        if text or logprobs or reasoning or tool_calls:
            await self._put(Piece(text, index, logprobs, reasoning, tool_calls))

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        """Hand on how far it has come, if the client can be told."""
        if self._with_progress:
            await self._put(Progress(stage, fraction, message, counted))

    async def _put(self, piece: Piece | Progress) -> None:
        await self._room.wait()
        if self.answered:
            raise asyncio.CancelledError
        self._waiting.append(piece)
        self._news.set()
        if len(self._waiting) >= _MAX_WAITING:
            self._room.clear()

    # For the endpoint

    def start(
        self,
        handling: Callable[[GatewayRequest], Awaitable[object]],
        params: Params,
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> asyncio.Task[None]:
        """Run the handler; `gone` returns when the client has left. Answers the task, which can outlive the
        answer."""
        loop = asyncio.get_running_loop()
        self.begin(
            getattr(params, "timeout_s", None),
            lambda: self.cut_short(errors.timeout()),
            streaming=getattr(params, "stream", False),
        )
        self._task = loop.create_task(self._run(handling))
        if gone is not None:
            self._watch = loop.create_task(self._leave_with(gone))
        return self._task

    async def batches(self) -> AsyncIterator[list[Piece | Progress]]:
        """Everything that has come since the last time, until nothing more will."""
        while not (self.answered and not self._waiting):
            await self._news.wait()
            self._news.clear()
            if self._waiting:
                batch, self._waiting = self._waiting, []
                self._room.set()
                yield batch

    async def first(self) -> None:
        """Wait until there is something to send. Raises the error that came before any."""
        await self._news.wait()
        if self._error is not None and not self._waiting:
            raise self._error

    async def result(self) -> object:
        """The answer. Raises RpcError."""
        while not self.answered:
            await self._news.wait()
            self._news.clear()
        if self._error is not None:
            raise self._error
        return self._outcome

    def cut_short(self, error: RpcError) -> None:
        """Answer now, whatever the request is doing, and let its task find out."""
        if self.answered:
            return
        if error.kind in ("cancelled", "timeout"):
            error = RpcError(error.kind, error.message, self.partial.told())
        self._finish(None, error)
        if self._task is not None:
            self._task.cancel()

    async def _run(self, handling: Callable[[GatewayRequest], Awaitable[object]]) -> None:
        try:
            outcome = await handling(self)
        except RpcError as error:
            self._finish(None, error)
        except asyncio.CancelledError:
            self._finish(None, errors.cancelled())
        except Exception as error:  # noqa: BLE001 - whatever a handler does, its request is answered
            fields = {"request_id": self.request_id, "method": self.method}
            incident = self._host.incident("request.failed", error, **fields)
            self._finish(None, errors.internal_error(incident))
        else:
            self._finish(outcome, None)

    async def _leave_with(self, gone: Callable[[], Awaitable[None]]) -> None:
        await gone()
        self.cut_short(errors.cancelled("the client has gone"))

    def _finish(self, outcome: object, error: RpcError | None) -> None:
        if self.answered:
            return
        self._outcome, self._error = outcome, error
        self.end("ok" if error is None else error.kind)
        self._room.set()
        self._news.set()
        if self._watch is not None:
            self._watch.cancel()
        if self.on_end is not None:
            self.on_end(self)
