"""Which models are loaded: loads one when it is first asked for, lends its worker out, unloads it.

However many requests ask for a model that is not loaded, it is loaded once; when the last of them goes away
before it is ready, the load is given up. A worker that dies is forgotten at once, and the next request
starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Literal

import msgspec

from native_host.models.load_options import load_request, options_of, refuse_unusable
from native_host.models.registry import Registry
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.telemetry.logs import Log
from native_host.workers.launcher import Launcher, ProcessLauncher
from native_host.workers.messages import LoadOptions
from native_host.workers.supervisor import Worker

log = Log("models")

State = Literal["available", "absent", "loading", "loaded", "draining"]
OnProgress = Callable[[float], None]

STALL_S = 60.0
"""How long a worker may be silent while it loads, in seconds."""


class Lease(msgspec.Struct, frozen=True):
    """A loaded model, lent to one request; `load_ms` is how long the request waited for it to load."""

    worker: Worker
    spec: ModelSpec
    load_ms: float


class _Loading:
    """A load in progress, and who waits for it."""

    def __init__(self, task: asyncio.Task[None], options: LoadOptions) -> None:
        self.task = task
        self.options = options
        self.ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self.waiters = 0
        self.listeners: set[OnProgress] = set()

    def abandon(self, error: RpcError) -> None:
        """Give the load up; whoever still waits gets the error."""
        self.task.cancel()
        if not self.ready.done():
            self.fail(error)

    def fail(self, error: RpcError) -> None:
        """Tell everyone who waits; nobody may be left, and then nobody need hear of it."""
        self.ready.set_exception(error)
        self.ready.exception()


class _Slot:
    """What the manager knows of one model."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self.worker: Worker | None = None
        self.options = LoadOptions()
        self.loading: _Loading | None = None
        self.draining = False
        self.users = 0
        self.changed = asyncio.Event()

    def notify(self) -> None:
        """Wake everyone who waits for a change of this slot."""
        self.changed.set()
        self.changed = asyncio.Event()

    def state(self) -> State:
        """As `models.list` says it."""
        if self.draining:
            return "draining"
        if self.loading is not None:
            return "loading"
        if self.worker is not None:
            return "loaded"
        return "available" if self.spec.present() else "absent"


class ModelManager:
    """Lends out loaded models by name."""

    def __init__(
        self, registry: Registry, launcher: Launcher | None = None, stall_s: float = STALL_S
    ) -> None:
        self.registry = registry
        self._launcher = launcher or ProcessLauncher()
        self._stall_s = stall_s
        self._slots: dict[str, _Slot] = {}
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def use(self, name: str | None, on_progress: OnProgress | None = None) -> AsyncIterator[Lease]:
        """Lend the model of this name, loading it first if need be.

        Raises model_not_found, model_absent, unsupported, shutting_down, and whatever loading raises.
        """
        slot = self._slot(name)
        worker, load_ms = await self._acquire(slot, None, on_progress)
        try:
            yield Lease(worker, slot.spec, load_ms)
        finally:
            slot.users -= 1
            slot.notify()

    async def load(
        self, name: str | None, options: LoadOptions | None = None, on_progress: OnProgress | None = None
    ) -> Lease:
        """Have a model loaded, with these options; one that is loaded with others is drained and loaded
        anew.
        """
        slot = self._slot(name)
        if slot.worker is not None and options is not None and options != slot.options:
            await self.unload(name)
        worker, load_ms = await self._acquire(slot, options, on_progress)
        slot.users -= 1
        slot.notify()
        return Lease(worker, slot.spec, load_ms)

    async def unload(self, name: str | None, force: bool = False) -> None:
        """Free a model once its requests are answered; `force` ends them with `cancelled`. Idle models stay
        as is.
        """
        slot = self._slot(name)
        stopped = errors.cancelled(f"the model {slot.spec.name!r} was unloaded")
        if slot.loading is not None:
            if force:
                slot.loading.abandon(stopped)
                self._forget(slot)
                return
            with contextlib.suppress(RpcError):
                await asyncio.shield(slot.loading.ready)
        worker = slot.worker
        if worker is None:
            return
        slot.draining = True
        try:
            if force:
                await worker.stop(stopped)
            while slot.users and slot.worker is worker:
                await slot.changed.wait()
            await worker.stop(stopped)
        finally:
            slot.draining = False
            slot.notify()

    async def stop(self) -> None:
        """End all workers, within a second; new requests get shutting_down."""
        self._stopping = True
        for slot in self._slots.values():
            if slot.loading is not None:
                slot.loading.abandon(errors.shutting_down())
        workers = [slot.worker for slot in self._slots.values() if slot.worker is not None]
        await asyncio.gather(*(worker.stop() for worker in workers), *self._tasks, return_exceptions=True)

    def state(self, spec: ModelSpec) -> State:
        """The state of a model of the registry."""
        return self._slot(spec.name).state()

    def worker(self, spec: ModelSpec) -> Worker | None:
        """The worker of a loaded model."""
        return self._slot(spec.name).worker

    def _slot(self, name: str | None) -> _Slot:
        spec = self.registry.resolve(name)
        return self._slots.setdefault(spec.name, _Slot(spec))

    async def _acquire(
        self, slot: _Slot, options: LoadOptions | None, on_progress: OnProgress | None
    ) -> tuple[Worker, float]:
        began = time.monotonic()
        waited = False
        while True:
            if self._stopping:
                raise errors.shutting_down()
            if slot.draining:
                await slot.changed.wait()
            elif slot.worker is not None:
                slot.users += 1
                return slot.worker, (time.monotonic() - began) * 1000 if waited else 0.0
            else:
                waited = True
                await self._await_load(slot, options, on_progress)

    async def _await_load(
        self, slot: _Slot, options: LoadOptions | None, on_progress: OnProgress | None
    ) -> None:
        """Wait for the load in progress, starting it if there is none; the last to give up ends it."""
        loading = slot.loading or self._begin(slot, options)
        loading.waiters += 1
        if on_progress is not None:
            loading.listeners.add(on_progress)
        try:
            await asyncio.shield(loading.ready)
        finally:
            loading.waiters -= 1
            if on_progress is not None:
                loading.listeners.discard(on_progress)
            if loading.waiters == 0 and not loading.ready.done():
                loading.abandon(errors.cancelled())
                if slot.loading is loading:
                    self._forget(slot)

    def _begin(self, slot: _Slot, options: LoadOptions | None) -> _Loading:
        options = options or options_of(slot.spec)
        refuse_unusable(slot.spec, options)
        task = asyncio.get_running_loop().create_task(self._load(slot, options))
        slot.loading = _Loading(task, options)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return slot.loading

    async def _load(self, slot: _Slot, options: LoadOptions) -> None:
        loading = slot.loading
        assert loading is not None

        def progress(fraction: float) -> None:
            for listener in list(loading.listeners):
                listener(fraction)

        def ended(worker: Worker) -> None:
            if slot.worker is worker:
                slot.worker = None
                slot.notify()

        request = load_request(slot.spec, options)
        try:
            worker = await Worker.start(
                self._launcher,
                slot.spec.name,
                request,
                on_progress=progress,
                on_end=ended,
                stall_s=self._stall_s,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for this load
            if not loading.ready.done():
                self._forget(slot)
                loading.fail(error if isinstance(error, RpcError) else _unforeseen(slot, error))
            return
        if loading.ready.done():  # given up at the last moment
            await worker.stop()
            return
        slot.options = options
        slot.worker = worker
        self._forget(slot)
        loading.ready.set_result(worker)

    def _forget(self, slot: _Slot) -> None:
        slot.loading = None
        slot.notify()


def _unforeseen(slot: _Slot, error: Exception) -> RpcError:
    incident = secrets.token_hex(6)
    log.failure("load.failed", error, incident=incident, model=slot.spec.name)
    return errors.internal_error(incident)
