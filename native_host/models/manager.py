"""Which models are loaded: loads one when it is first asked for, lends its worker out, unloads it.

However many requests ask for a model that is not loaded, it is loaded once; when the last of them goes away
before it is ready, the load is given up. A worker that dies is forgotten at once, and the next request
starts another. A model that is unloaded, evicted or changed finishes what it has begun while the next request
already gets its successor. What fits into memory is `room`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import msgspec

from native_host.models.events import Events, Happening, ModelEvent, Reason
from native_host.models.fingerprint import fingerprint
from native_host.models.instance import Instance, OnProgress
from native_host.models.load_options import load_request, options_of, refuse_unusable
from native_host.models.memory import machine_leftover, predict_by_size
from native_host.models.registry import Registry
from native_host.models.registry_file import RegistryFile
from native_host.models.room import PATIENCE_S, Leftover, Predict, Room
from native_host.models.spec import ModelSpec, keep_alive_of
from native_host.platform.process_memory import resident_bytes
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.settings import KEEP_ALIVE_S, LOAD_TIMEOUT_S
from native_host.telemetry.logs import Log
from native_host.workers.launcher import Launcher, ProcessLauncher
from native_host.workers.messages import LoadOptions
from native_host.workers.supervisor import Worker

log = Log("models")

State = Literal["available", "absent", "loading", "loaded", "draining"]

STALL_S = 60.0
"""How long a worker may be silent while it loads, in seconds."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What models may take, in bytes and seconds; `memory_budget` `None` is what the machine leaves."""

    memory_budget: int | None = None
    keep_alive_s: float = KEEP_ALIVE_S
    load_timeout_s: float = LOAD_TIMEOUT_S
    stall_s: float = STALL_S
    patience_s: float = PATIENCE_S


class Lease(msgspec.Struct, frozen=True):
    """A loaded model, lent to one request; `load_ms` is how long the request waited for it to load."""

    worker: Worker
    spec: ModelSpec
    load_ms: float


class Status(msgspec.Struct, frozen=True):
    """What there is of a model now. `memory_bytes` is what all its processes hold, `requests` how many use or
    await it, `idle_left_s` the time until it is unloaded if nobody does.
    """

    state: State
    worker: Worker | None = None
    memory_bytes: int | None = None
    requests: int = 0
    idle_left_s: float | None = None


class ModelManager:
    """Lends out loaded models by name."""

    def __init__(
        self,
        registry: Registry | RegistryFile,
        launcher: Launcher | None = None,
        limits: Limits | None = None,
        predict: Predict = predict_by_size,
        leftover: Leftover = machine_leftover,
    ) -> None:
        self.events = Events()
        self._file = registry if isinstance(registry, RegistryFile) else None
        self._registry = registry.current() if isinstance(registry, RegistryFile) else registry
        self._launcher = launcher or ProcessLauncher()
        self._limits = limits or Limits()
        budget, patience_s = self._limits.memory_budget, self._limits.patience_s
        self._room = Room(budget, predict, leftover, self._instances, self._retire, patience_s)
        self._current: dict[str, Instance] = {}
        self._leaving: set[Instance] = set()
        self._stopping = False

    # The registry

    @property
    def registry(self) -> Registry:
        """The registry as `models.json` has it now; models whose entries have changed drain."""
        if self._file is not None:
            found = self._file.current()
            if found is not self._registry:
                self._registry = found
                self._follow(found)
        return self._registry

    def reread(self) -> None:
        """Read `models.json` anew at the next look, even if it has not changed: what it names may have come,
        or gone.
        """
        if self._file is not None:
            self._file.reread()

    def _follow(self, registry: Registry) -> None:
        for instance in list(self._current.values()):
            spec = registry.get(instance.spec.name)
            if spec is None:
                self._retire(instance, "removed")
            elif _opened_alike(spec, instance.spec):
                instance.spec = spec
                self._rest(instance)
            else:
                self._retire(instance, "changed")

    def problems(self, name_files: bool = True) -> list[str]:
        """What is wrong with `models.json` as it is now, for `health`; where it lies only if `name_files`."""
        _ = self.registry
        problem = self._file.problem if self._file is not None else None
        if problem is None:
            return []
        return [f"{problem if name_files else problem.without_folder()}; what it said before is in force"]

    # Requests

    @contextlib.asynccontextmanager
    async def use(
        self,
        name: str | None,
        on_progress: OnProgress | None = None,
        keep_alive_s: float | None = None,
    ) -> AsyncIterator[Lease]:
        """Lend the model of this name, loading it first if need be; from now on it stays unused for
        `keep_alive_s` where that is given.

        Raises model_not_found, model_absent, unsupported, insufficient_memory, shutting_down, and whatever
        loading raises.
        """
        instance, lease = await self._acquire(self.registry.resolve(name), None, on_progress)
        if keep_alive_s is not None:
            instance.keep_alive_s = keep_alive_s
        try:
            yield lease
        finally:
            self._release(instance)

    async def load(
        self,
        name: str | None,
        options: LoadOptions | None = None,
        on_progress: OnProgress | None = None,
        keep_alive_s: float | None = None,
    ) -> Lease:
        """Have a model loaded, with these options; one that is loaded with others finishes what it has, and
        newcomers get the new one. `keep_alive_s` is how long this one stays unused. Raises what `use` raises.
        """
        spec = self.registry.resolve(name)
        if options is not None:
            await self._replace(spec, options)
        instance, lease = await self._acquire(spec, options, on_progress)
        if keep_alive_s is not None:
            instance.keep_alive_s = keep_alive_s
        self._release(instance)
        return lease

    async def _replace(self, spec: ModelSpec, options: LoadOptions) -> None:
        """Retire what is loaded with other options, if there can be a successor with these."""
        found = self._current.get(spec.name)
        if found is None or found.options == options:
            return
        refuse_unusable(spec, options)
        await self._room.refuse_impossible(Instance(spec, options))
        found = self._current.get(spec.name)  # another may have come meanwhile
        if found is not None and found.options != options:
            self._retire(found, "changed")

    async def unload(self, name: str | None, force: bool = False) -> None:
        """Free a model once its requests are answered; `force` ends them with `cancelled`. Idle models stay
        as is. Whoever asks for it meanwhile has it loaded anew.
        """
        spec = self.registry.resolve(name)
        stopped = errors.cancelled(f"the model {spec.name!r} was unloaded")
        found = [instance for instance in self._instances() if instance.spec.name == spec.name]
        for instance in found:
            self._retire(instance, "asked")
            if force:
                self._end(instance, stopped)
        for instance in found:
            await instance.gone.wait()

    async def load_pinned(self) -> None:
        """Load the models that are to be there before anyone asks; a failure is logged."""
        pinned = [spec.name for spec in self.registry.specs() if spec.entry.pinned]
        for name in pinned:
            try:
                await self.load(name)
            except RpcError as error:
                log.warning("pinned.not_loaded", model=name, kind=error.kind, problem=error.message)

    async def stop(self) -> None:
        """End all workers, within a second; new requests get shutting_down."""
        self._stopping = True
        await self._room.close()
        for instance in list(self._instances()):
            self._retire(instance, "stopping")
            self._end(instance, errors.shutting_down())
        await asyncio.gather(*(instance.gone.wait() for instance in list(self._leaving)))

    # What there is

    def status(self, spec: ModelSpec) -> Status:
        """What there is of a model of the registry at this moment, by what the system says of its processes:
        one that has died is not there, even if nobody has noticed yet.
        """
        state: State = "available" if spec.present() else "absent"
        held: list[int] = []
        requests = 0
        current: Instance | None = None
        for instance in self._instances():
            if instance.spec.name != spec.name:
                continue
            memory = resident_bytes(instance.pid) if instance.pid is not None else None
            if memory is not None:
                held.append(memory)
            elif instance.pid is not None:
                continue
            requests += instance.users + instance.waiters
            if not instance.leaving:
                current = instance
                state = "loaded" if instance.loaded else "loading"
            elif current is None:
                state = "draining"
        return Status(
            state,
            current.worker if current is not None and current.loaded else None,
            sum(held) if held else None,
            requests,
            current.idle_left_s if current is not None else None,
        )

    def fingerprint(self, spec: ModelSpec) -> str | None:
        """Which weights, opened how, the next answer comes from; `None` where nobody can know."""
        current = self._current.get(spec.name)
        return fingerprint(spec, options_of(spec)) if current is None else current.fingerprint

    def _instances(self) -> Iterator[Instance]:
        """All of them, those that are leaving last."""
        yield from list(self._current.values())
        yield from list(self._leaving)

    # The life of an instance

    async def _acquire(
        self, spec: ModelSpec, options: LoadOptions | None, on_progress: OnProgress | None
    ) -> tuple[Instance, Lease]:
        began = time.monotonic()
        waited = False
        while True:
            if self._stopping:
                raise errors.shutting_down()
            instance = self._current.get(spec.name) or self._begin(spec, options)
            if instance.loaded:
                instance.users += 1
            else:
                waited = True
                await self._await_load(instance, on_progress)
            worker = instance.worker
            if worker is not None and worker.alive:
                instance.stop_idling()
                load_ms = (time.monotonic() - began) * 1000 if waited else 0.0
                return instance, Lease(worker, instance.spec, load_ms)
            self._release(instance)

    async def _await_load(self, instance: Instance, on_progress: OnProgress | None) -> None:
        """Wait for the load in progress, and be its user then; the last to give up ends it."""
        instance.waiters += 1
        if on_progress is not None:
            instance.listeners.add(on_progress)
        try:
            await asyncio.shield(instance.ready)
            instance.users += 1
        finally:
            instance.waiters -= 1
            if on_progress is not None:
                instance.listeners.discard(on_progress)
            if not instance.in_use and not instance.ready.done():
                self._retire(instance, "given_up")
            elif not instance.in_use:
                self._rest(instance)

    def _release(self, instance: Instance) -> None:
        instance.users -= 1
        instance.last_used = time.monotonic()
        if not instance.in_use:
            self._rest(instance)
            self._room.notify()
            self._room.trim_soon()

    def _rest(self, instance: Instance) -> None:
        """Nobody uses it: end it if it is leaving, else let it wait for the next one for its keep-alive."""
        if instance.leaving and not instance.in_use:
            self._end(instance, errors.cancelled(f"the model {instance.spec.name!r} was unloaded"))
            return
        instance.stop_idling()
        if instance.in_use or not instance.loaded or instance.leaving:
            return
        asked, entry = instance.keep_alive_s, instance.spec.entry
        seconds = keep_alive_of(entry, self._limits.keep_alive_s) if asked is None or entry.pinned else asked
        if seconds < math.inf:
            loop = asyncio.get_running_loop()
            instance.idle_timer = loop.call_later(seconds, self._retire, instance, "idle")

    def _retire(self, instance: Instance, reason: Reason) -> None:
        """Give it to no newcomer any more, and end it as soon as nobody uses it."""
        if not instance.leaving:
            self._leave(instance)
            self._tell(instance, "draining", reason)
        if not instance.in_use:
            self._end(instance, errors.cancelled(f"the model {instance.spec.name!r} was unloaded"))

    def _leave(self, instance: Instance) -> None:
        instance.leaving = True
        instance.stop_idling()
        if self._current.get(instance.spec.name) is instance:
            del self._current[instance.spec.name]
        self._leaving.add(instance)

    def _end(self, instance: Instance, reason: RpcError) -> None:
        """End its worker, or its load, now; whoever uses it gets the reason."""
        if not instance.ready.done():
            instance.fail(reason)
            if instance.task is not None:
                instance.task.cancel()
        elif instance.worker is not None:
            instance.worker.end(reason)

    def _begin(self, spec: ModelSpec, options: LoadOptions | None) -> Instance:
        options = options or options_of(spec)
        refuse_unusable(spec, options)
        instance = self._current[spec.name] = Instance(spec, options)
        self._tell(instance, "loading")
        instance.task = asyncio.get_running_loop().create_task(self._live(instance))
        # Not the task's own last act: a task that is cancelled before its first step does nothing at all.
        instance.task.add_done_callback(lambda _: self._farewell(instance))
        return instance

    async def _live(self, instance: Instance) -> None:
        """The life of an instance: room, load, use."""
        try:
            worker = await self._load(instance)
            if worker is not None:
                await worker.wait_ended()
        finally:
            if instance.worker is not None:
                await instance.worker.stop()

    def _farewell(self, instance: Instance) -> None:
        """Its life is over, however it went: forget it, and tell whoever waits for that."""
        self._current = {name: one for name, one in self._current.items() if one is not instance}
        self._leaving.discard(instance)
        instance.gone.set()
        self._tell(instance, "ended")
        self._room.notify()

    async def _load(self, instance: Instance) -> Worker | None:
        """Load it, and tell whoever waits; `None` where that failed."""
        began = time.monotonic()
        try:
            await self._room.enter(instance)
            worker = await self._start(instance)
            await self._room.measure(instance)
            if not worker.alive:
                raise await worker.cause_of_death()
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for this load
            told = error if isinstance(error, RpcError) else _unforeseen(instance, error)
            self._leave(instance)
            self._tell(instance, "load_failed", error=told.kind)
            instance.fail(told)
            return None
        instance.succeed(worker)
        load_ms = round((time.monotonic() - began) * 1000, 1)
        self._tell(instance, "loaded", memory_bytes=instance.measured.resident, load_ms=load_ms)
        return worker

    async def _start(self, instance: Instance) -> Worker:
        def launched(worker: Worker) -> None:
            instance.worker = worker

        def ended(worker: Worker) -> None:
            if not instance.leaving and instance.loaded:
                self._leave(instance)
                self._tell(instance, "crashed")

        return await Worker.start(
            self._launcher,
            instance.spec.name,
            load_request(instance.spec, instance.options),
            on_progress=instance.progress,
            on_launched=launched,
            on_end=ended,
            stall_s=self._limits.stall_s,
            deadline_s=self._limits.load_timeout_s,
        )

    def _tell(
        self,
        instance: Instance,
        what: Happening,
        reason: Reason = "",
        *,
        memory_bytes: int | None = None,
        load_ms: float | None = None,
        error: str | None = None,
    ) -> None:
        name, number = instance.spec.name, instance.number
        self.events.tell(ModelEvent(name, number, what, reason, memory_bytes, load_ms, error))


def _opened_alike(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether a worker that has one open could as well have opened the other."""
    keys = [(spec.location, spec.format, spec.entry.backend, options_of(spec)) for spec in (one, other)]
    return keys[0] == keys[1]


def _unforeseen(instance: Instance, error: Exception) -> RpcError:
    incident = secrets.token_hex(6)
    log.failure("load.failed", error, incident=incident, model=instance.spec.name)
    return errors.internal_error(incident)
