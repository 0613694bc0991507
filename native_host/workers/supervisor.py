"""The host's side of one worker: starts it, sends it requests, watches it, ends it.

A worker that dies, hangs while loading or talks nonsense costs its own requests, each of which gets an
error that says what happened; the host goes on.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import math
import secrets
import time
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import msgspec

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.telemetry.logs import Log
from native_host.workers.launcher import Launcher, WorkerHandle
from native_host.workers.link import GarbageError, Link, raw
from native_host.workers.messages import (
    CancelNotice,
    DetokenizeRequest,
    EmbedRequest,
    EmbedResult,
    Envelope,
    Event,
    EventsNotice,
    Failed,
    Finished,
    GenerateRequest,
    LoadRequest,
    ModelInfo,
    PaceNotice,
    ProgressNotice,
    RerankRequest,
    RerankResult,
    TemplateRequest,
    TokenizeRequest,
    WireError,
)

log = Log("workers")

_POLITE_S = 0.5
_TERM_S = 0.3
_KEPT_LINES = 30
HIGH_WATER = 64
"""Events that may wait for one request's consumer before its generation pauses."""

OnProgress = Callable[[float], None]
T = TypeVar("T")


class Generation:
    """The events of one request, in batches: `async with worker.generate(...) as batches: async for batch
    in batches`.

    A consumer that leaves HIGH_WATER events waiting has its generation paused in the worker until it takes
    them; other requests go on.

    Leaving the block before the last event cancels the request in the worker; nothing waits for that.
    """

    def __init__(self, worker: Worker, request: GenerateRequest) -> None:
        self._worker = worker
        self._request = request
        self._id = 0
        self._events: list[Event] = []
        self._error: RpcError | None = None
        self._over = False
        self._paused = False
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Generation:
        self._id = self._worker._open(self, self._request)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker._close(self._id, unfinished=not self._over)

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> list[Event]:
        """All events since the last batch. Raises the RpcError that ended the request, after what came
        before it.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        events, self._events = self._events, []
        self._pace()
        return events

    def _pace(self) -> None:
        """Pause the worker's side of this request, or let it go on, where that is due."""
        full = len(self._events) >= HIGH_WATER
        if full != self._paused and not self._over:
            self._paused = full
            self._worker._set_pace(self._id, full)

    def push(self, event: Event) -> None:
        """Take an event from the worker."""
        if isinstance(event, Failed):
            self.fail(from_wire(event.error))
            return
        self._events.append(event)
        self._over = self._over or isinstance(event, Finished)
        self._wake.set()
        self._pace()

    def fail(self, error: RpcError) -> None:
        """End with an error."""
        if not self._over:
            self._error = error
            self._over = True
        self._wake.set()


class Worker:
    """One running worker with its model loaded."""

    def __init__(self, model: str, on_end: Callable[[Worker], None]) -> None:
        self.model = model
        self.info = ModelInfo(context_length=0)
        self.alive = True
        self._on_end = on_end
        self._handle: WorkerHandle | None = None
        self._link = Link(self._receive, self._lost)
        self._next_id = 1
        self._calls: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._streams: dict[int, Generation] = {}
        self._on_progress: OnProgress | None = None
        self._heard = 0.0
        self._verdict: RpcError | None = None
        self._ending: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)

    @classmethod
    async def start(
        cls,
        launcher: Launcher,
        model: str,
        request: LoadRequest,
        *,
        on_progress: OnProgress,
        on_end: Callable[[Worker], None],
        stall_s: float,
        on_launched: Callable[[Worker], None] = lambda _: None,
        deadline_s: float = math.inf,
    ) -> Worker:
        """Start a worker and load its model.

        `stall_s` is how long it may be silent: every sign of progress starts it anew, because a large model
        on a slow disk may rightly take minutes. `deadline_s` is how long the load may take in all.
        `on_launched` is called as soon as there is a process, `on_end` once, as soon as the worker is known
        to be gone. Raises RpcError: whatever the backend said, model_load_failed, or worker_crashed.
        """
        worker = cls(model, on_end)
        try:
            await worker._launch(launcher)
            on_launched(worker)
            worker._on_progress = on_progress
            answer = worker._send("load", request)
            loaded = await worker._patiently(answer, stall_s, deadline_s)
            worker.info = msgspec.json.decode(loaded, type=ModelInfo)
            if not worker.alive:
                raise await worker.cause_of_death()
        except BaseException as error:
            await asyncio.shield(worker.stop())
            if isinstance(error, RpcError) and error.kind == "model_load_failed":  # the worker knows no names
                raise errors.model_load_failed(model, error.data["reason"]) from error
            raise
        return worker

    async def _launch(self, launcher: Launcher) -> None:
        try:
            self._handle = await launcher.launch(self._print)
        except OSError as error:
            self.alive = False
            raise errors.model_load_failed(self.model, f"no worker could be started: {error}") from error
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self._link, sock=self._handle.socket)
        self._watching = loop.create_task(self._watch(self._handle))

    async def _patiently(
        self, answer: asyncio.Future[msgspec.Raw], stall_s: float, deadline_s: float
    ) -> msgspec.Raw:
        """Wait for an answer as long as the worker gives signs of life, and not for ever."""
        self._heard = time.monotonic()
        deadline = self._heard + deadline_s
        while True:
            now = time.monotonic()
            if now >= deadline:
                raise errors.model_load_failed(self.model, f"it was not loaded within {deadline_s:g} s")
            if now - self._heard >= stall_s:
                raise errors.model_load_failed(self.model, f"the worker was silent for {stall_s:g} s")
            left = min(self._heard + stall_s, deadline) - now
            done, _ = await asyncio.wait({answer}, timeout=left)
            if done:
                return answer.result()

    async def cause_of_death(self) -> RpcError:
        """What its requests are told, once it has ended."""
        if self._ending is not None:
            await asyncio.shield(self._ending)
        return self._verdict or errors.worker_crashed(f"the worker of {self.model!r} is gone")

    @property
    def pid(self) -> int | None:
        """The worker's process id."""
        return self._handle.pid if self._handle is not None else None

    def generate(self, request: GenerateRequest) -> Generation:
        """A request to enter with `async with`; it is sent on entering."""
        return Generation(self, request)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """A vector for each text; cancelling the caller ends it in the worker too."""
        return await self._call("embed", request, EmbedResult)

    async def rerank(self, request: RerankRequest) -> RerankResult:
        """A score for each document; cancelling the caller ends it in the worker too."""
        return await self._call("rerank", request, RerankResult)

    async def tokenize(self, request: TokenizeRequest) -> list[int]:
        """Text to token ids."""
        return await self._call("tokenize", request, list[int])

    async def detokenize(self, request: DetokenizeRequest) -> str:
        """Token ids to text."""
        return await self._call("detokenize", request, str)

    async def apply_template(self, request: TemplateRequest) -> str:
        """The prompt that the model's chat template makes."""
        return await self._call("apply_template", request, str)

    async def stop(self, reason: RpcError | None = None) -> None:
        """End the worker within a second; requests in flight get `reason`, or else shutting_down."""
        self.end(reason or errors.shutting_down())
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def end(self, reason: RpcError) -> None:
        """As `stop`, without waiting for the process to end."""
        self._verdict = self._verdict or reason
        self._link.close()
        if self._handle is not None:
            self._lost(None)

    async def wait_ended(self) -> None:
        """Wait until the process has ended, whatever the cause."""
        await self._ended.wait()

    async def _call(self, method: str, params: msgspec.Struct, result: type[T]) -> T:
        return msgspec.json.decode(await self._send(method, params), type=result)

    def _send(self, method: str, params: msgspec.Struct) -> asyncio.Future[msgspec.Raw]:
        """Send a request; the future is forgotten when its caller goes away."""
        if not self.alive:
            raise self._verdict or errors.worker_crashed(f"the worker of {self.model!r} is gone")
        request_id = self._take_id()
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._calls[request_id] = future
        future.add_done_callback(lambda done: self._forget(request_id, done))
        self._link.send(Envelope(id=request_id, method=method, params=raw(params)))
        return future

    def _forget(self, request_id: int, call: asyncio.Future[msgspec.Raw]) -> None:
        self._calls.pop(request_id, None)
        if call.cancelled():
            self._link.send(Envelope(method="$/cancelRequest", params=raw(CancelNotice(request_id))))

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _open(self, stream: Generation, request: GenerateRequest) -> int:
        if not self.alive:
            raise self._verdict or errors.worker_crashed(f"the worker of {self.model!r} is gone")
        request_id = self._take_id()
        self._streams[request_id] = stream
        self._link.send(Envelope(id=request_id, method="generate", params=raw(request)))
        return request_id

    def _close(self, request_id: int, unfinished: bool) -> None:
        del self._streams[request_id]
        if unfinished:
            self._link.send(Envelope(method="$/cancelRequest", params=raw(CancelNotice(request_id))))

    def _set_pace(self, request_id: int, paused: bool) -> None:
        method = "$/pause" if paused else "$/resume"
        self._link.send(Envelope(method=method, params=raw(PaceNotice(request_id))))

    def _print(self, line: str) -> None:
        self._lines.append(line)
        log.info("worker.output", model=self.model, pid=self.pid, line=line)

    def _receive(self, envelope: Envelope) -> None:
        self._heard = time.monotonic()
        if envelope.method == "$/events":
            for event in msgspec.json.decode(envelope.params, type=EventsNotice).events:
                if stream := self._streams.get(event.id):
                    stream.push(event)
        elif envelope.method == "$/progress":
            notice = msgspec.json.decode(envelope.params, type=ProgressNotice)
            if self._on_progress is not None:
                self._on_progress(notice.fraction)
        elif envelope.id is not None and envelope.method is None:
            self._settle(envelope.id, envelope)
        else:
            raise GarbageError(f"no method {envelope.method!r}")

    def _settle(self, request_id: int, envelope: Envelope) -> None:
        """Hand an answer to whoever waits for it; nobody does after a cancellation."""
        if stream := self._streams.get(request_id):
            if envelope.error is not None:
                stream.fail(from_wire(envelope.error))
            return
        future = self._calls.get(request_id)
        if future is None or future.done():
            return
        if envelope.error is not None:
            future.set_exception(from_wire(envelope.error))
        else:
            future.set_result(envelope.result)

    async def _watch(self, handle: WorkerHandle) -> None:
        await handle.wait()
        self._lost(None)

    def _lost(self, reason: Exception | None) -> None:
        """The worker is gone, or must go: tell the owner now, the requests as soon as the cause is known."""
        if self._ending is not None or self._handle is None:
            return
        self.alive = False
        self._on_end(self)
        self._ending = asyncio.get_running_loop().create_task(self._end(self._handle, reason))

    async def _end(self, handle: WorkerHandle, reason: Exception | None) -> None:
        how = await _reap(handle, at_once=isinstance(reason, GarbageError))
        self._link.close()
        if isinstance(reason, GarbageError):
            how = f"sent what is no message ({reason}) and was ended"
        error = self._verdict or self._crash(how)
        self._verdict = error
        self._ended.set()
        for future in list(self._calls.values()):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever asked may be gone, and then nobody need hear of it
        for stream in self._streams.values():
            stream.fail(error)

    def _crash(self, how: str) -> RpcError:
        incident = secrets.token_hex(6)
        output = list(self._lines)
        log.warning(
            "worker.crashed", incident=incident, model=self.model, pid=self.pid, how=how, output=output
        )
        return errors.worker_crashed(f"the worker of {self.model!r} {how} (incident {incident})")


async def _reap(handle: WorkerHandle, at_once: bool) -> str:
    """Wait for the end of a worker whose link is closed, with ever less patience; says how it ended."""
    steps = [(_POLITE_S, handle.terminate), (_TERM_S, handle.kill)]
    if at_once:
        handle.kill()
    for seconds, then in steps:
        with contextlib.suppress(asyncio.TimeoutError):
            return await asyncio.wait_for(handle.wait(), seconds)
        then()
    return await handle.wait()


def from_wire(error: WireError) -> RpcError:
    """An error of the catalogue as it arrived."""
    return errors.from_wire(error.code, error.message, error.data)
