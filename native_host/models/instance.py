"""One worker process of a model, from the decision to load it until the process has ended."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable

import msgspec

from native_host.models.budget import Holding, Standing
from native_host.models.fingerprint import fingerprint
from native_host.models.spec import ModelSpec
from native_host.platform.process_memory import Footprint, footprint
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadOptions
from native_host.workers.supervisor import Worker

OnProgress = Callable[[float], None]

_numbers = itertools.count(1)


class Way(msgspec.Struct, frozen=True):
    """How a model is loaded: its place, its size on the disk, its backend, and its options as JSON."""

    place: str
    size: int | None
    backend: str | None
    options: bytes


class Instance:
    """What the manager knows of one worker.

    It is loading until `ready` has a result, then loaded; once it is `leaving` nobody new gets it, and it
    ends when the last one who has it is done. `worker` is set as soon as there is a process. `keep_alive_s`
    is what whoever loaded it asked for, if anything. `fingerprint` is that of its file
    before it was opened. Times are `time.monotonic()`'s.
    """

    def __init__(self, spec: ModelSpec, options: LoadOptions) -> None:
        self.number = next(_numbers)
        self.spec = spec
        self.options = options
        self.fingerprint = fingerprint(spec, options)
        self.worker: Worker | None = None
        self.ready: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self.gone = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.leaving = False
        self.users = 0
        self.waiters = 0
        self.listeners: set[OnProgress] = set()
        self.way: Way | None = None
        self.reserved = 0
        self.measured = Footprint(0, 0)
        self.loaded_at = 0.0
        self.when_loaded = Footprint(0, 0)
        self.last_used = 0.0
        self.keep_alive_s: float | None = None
        self.idle_timer: asyncio.TimerHandle | None = None

    @property
    def loaded(self) -> bool:
        """Whether its model can be used."""
        return self.ready.done() and not self.ready.cancelled() and self.ready.exception() is None

    @property
    def in_use(self) -> bool:
        """Whether somebody has it, or waits for it to load."""
        return self.users > 0 or self.waiters > 0

    @property
    def pid(self) -> int | None:
        """Its process id, once there is a process."""
        return self.worker.pid if self.worker is not None else None

    def holding(self) -> Holding:
        """Its memory, as the budget sees it: what was foreseen until it is loaded, then what was measured,
        and no less than it held then with what it may yet spill.
        """
        reserved = self.when_loaded.resident + self._may_spill() if self.loaded else self.reserved
        since = self.loaded_at if self.in_use else self.last_used
        held = max(reserved, self.measured.resident)
        return Holding(self.spec.name, held, self._standing(), since, self.number)

    def _may_spill(self) -> int:
        return self.worker.info.spill_bytes if self.worker is not None else 0

    def _standing(self) -> Standing:
        if self.leaving:
            return "leaving"
        if self.spec.entry.pinned:
            return "pinned"
        if not self.loaded:
            return "loading"
        return "busy" if self.in_use else "idle"

    def measure(self) -> None:
        """Look how much memory it holds. Blocks for milliseconds a gigabyte."""
        pid = self.pid
        found = footprint(pid) if pid is not None else None
        if found is not None:
            self.measured = found

    def progress(self, fraction: float) -> None:
        """Tell everyone who waits how far the load has come."""
        for listener in list(self.listeners):
            listener(fraction)

    def succeed(self, worker: Worker) -> None:
        """The model is loaded."""
        self.loaded_at = self.last_used = time.monotonic()
        self.when_loaded = self.measured
        self.ready.set_result(worker)

    def fail(self, error: RpcError) -> None:
        """Tell everyone who waits; nobody may be left, and then nobody need hear of it."""
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()

    def stop_idling(self) -> None:
        """It is in use, or leaves: its idle time is over."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
            self.idle_timer = None

    @property
    def idle_left_s(self) -> float | None:
        """Seconds until it is unloaded unused; `None` while it is in use or stays for good."""
        if self.idle_timer is None:
            return None
        return max(self.idle_timer.when() - asyncio.get_running_loop().time(), 0.0)
