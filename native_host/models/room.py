"""Makes room in memory: a model is loaded only when what it is foreseen to need is free, or has been freed.

Where the models that are in use leave too little, a load waits for its turn rather than fails.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from native_host.models.budget import Fits, Holding, Never, plan, to_trim
from native_host.models.events import Reason
from native_host.models.inspection import size_of
from native_host.models.instance import Instance, Way
from native_host.models.memory import max_memory_bytes
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadOptions

Predict = Callable[[ModelSpec, LoadOptions], Awaitable[int]]
"""Foresees how many bytes a model's worker will hold. Raises RpcError for a model that cannot be opened."""
Leftover = Callable[[], int]
"""Bytes that the machine, or its control group, has left now. May block."""

PATIENCE_S = 2.0
"""How long a load waits for a model to become idle before it asks for its turn, in seconds."""
LOOK_S = 5.0
"""How often a load that waits looks for memory that others than models have freed, in seconds."""
TRIM_S = 5.0
"""How long after a model's use it is seen whether models have outgrown the budget, in seconds."""


class Room:
    """The memory of all workers together."""

    def __init__(
        self,
        budget: int | None,
        predict: Predict,
        leftover: Leftover,
        instances: Callable[[], Iterable[Instance]],
        retire: Callable[[Instance, Reason], None],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """`budget` is in bytes; without one, models may have what the machine leaves."""
        self._budget = budget
        self._predict = predict
        self._leftover = leftover
        self._instances = instances
        self._retire = retire
        self._patience_s = patience_s
        self._queue: list[tuple[Instance, int]] = []
        self._foreseen: dict[Way, int] = {}
        self._changed = asyncio.Event()
        self._trim: asyncio.TimerHandle | None = None
        self._trimming: asyncio.Task[None] | None = None

    def notify(self) -> None:
        """A model has ended or become idle: those who wait shall look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def enter(self, instance: Instance) -> None:
        """Wait until there is room for an instance, and reserve it. Raises insufficient_memory where waiting
        would not help.
        """
        needed = await self._needed(instance)
        place = (instance, needed)
        self._queue.append(place)
        began = time.monotonic()
        try:
            while not await self._try(instance, needed, began):
                pass
        finally:
            self._queue.remove(place)
            self.notify()

    async def refuse_impossible(self, instance: Instance) -> None:
        """Refuse an instance for which there could be no room, if all others of its model went. Raises what
        `enter` raises.
        """
        needed = await self._needed(instance)
        limit = await self._limit()
        others = [holding for holding in self._holdings() if holding.name != instance.spec.name]
        found = plan(limit, others, needed)
        if isinstance(found, Never):
            raise _never(instance, needed, found)

    async def _needed(self, instance: Instance) -> int:
        """What it is foreseen to hold, in bytes. Raises insufficient_memory where it may not hold that."""
        way = instance.way = _way_of_loading(instance)
        if way not in self._foreseen:
            self._foreseen[way] = await self._predict(instance.spec, instance.options)
        needed = self._foreseen[way]
        _refuse_above_its_own_limit(instance, needed)
        return needed

    async def _try(self, instance: Instance, needed: int, began: float) -> bool:
        """Reserve room if there is; else have some made, and wait for a change."""
        changed = self._changed
        limit = await self._limit()
        patience = began + self._patience_s - time.monotonic()
        found = plan(limit, self._holdings(), needed, self._promised(instance), patience <= 0)
        if isinstance(found, Fits):
            instance.reserved = needed
            return True
        if isinstance(found, Never):
            raise _never(instance, needed, found)
        self._retire_all(found.retire, "evicted")
        # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the change, and a
        # load that nobody wants any more would go on.
        news = asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait({news}, timeout=min(patience, LOOK_S) if patience > 0 else LOOK_S)
        finally:
            news.cancel()
        return False

    async def _limit(self) -> int:
        """Bytes that models may have together now. Measures every worker on the way."""
        return await asyncio.to_thread(self._look, list(self._instances()))

    async def measure(self, instance: Instance) -> None:
        """Find out what an instance that has been loaded really holds."""
        await asyncio.to_thread(self._measure, instance)

    def _measure(self, instance: Instance) -> None:
        """What is foreseen for a model's next load is no less than it was seen to hold."""
        instance.measure()
        if instance.way in self._foreseen:
            self._foreseen[instance.way] = max(self._foreseen[instance.way], instance.measured.resident)

    def _look(self, instances: list[Instance]) -> int:
        for instance in instances:
            self._measure(instance)
        # What the machine has left knows of memory that workers hold; their files' pages count as left.
        machine = self._leftover() + sum(instance.measured.own for instance in instances)
        return machine if self._budget is None else min(self._budget, machine)

    def _holdings(self) -> list[Holding]:
        """All that holds memory or has it reserved; not those that wait."""
        return [instance.holding() for instance in self._instances() if instance.reserved]

    def _promised(self, instance: Instance) -> int:
        """What those need who have waited for longer than this one."""
        before = itertools.takewhile(lambda place: place[0] is not instance, self._queue)
        return sum(needed for _, needed in before)

    def _retire_all(self, holdings: list[Holding], reason: Reason) -> None:
        numbered = {instance.number: instance for instance in self._instances()}
        for holding in holdings:
            self._retire(numbered[holding.number], "turn" if holding.standing == "busy" else reason)

    def trim_soon(self) -> None:
        """See to it that models that have grown by being used do not stay above the budget."""
        if self._trim is None:
            self._trim = asyncio.get_running_loop().call_later(TRIM_S, self._begin_trim)

    def _begin_trim(self) -> None:
        self._trimming = asyncio.get_running_loop().create_task(self._trim_now())

    async def _trim_now(self) -> None:
        try:
            limit = await self._limit()
            self._retire_all(to_trim(limit, self._holdings()), "evicted")
        finally:
            self._trim = self._trimming = None

    async def close(self) -> None:
        """Trim no more."""
        if self._trim is not None:
            self._trim.cancel()
        if self._trimming is not None:
            self._trimming.cancel()
            await asyncio.gather(self._trimming, return_exceptions=True)


def _way_of_loading(instance: Instance) -> Way:
    """Instances that have this in common hold as much memory as each other."""
    spec = instance.spec
    size = size_of(spec.file) if spec.file is not None else None
    return Way(spec.location, size, spec.entry.backend, msgspec.json.encode(instance.options))


def _refuse_above_its_own_limit(instance: Instance, needed: int) -> None:
    """Raises insufficient_memory for a model whose `max_memory` its settings would exceed.

    SafeTensors models are left out: their backend divides the weights among devices by it.
    """
    given = instance.options.max_memory
    if given is None or instance.spec.format == "safetensors":
        return
    allowed = max_memory_bytes(given)
    if needed > allowed:
        raise errors.insufficient_memory(
            needed,
            allowed,
            f"model {instance.spec.name!r} needs {_mib(needed)} and its max_memory is {_mib(allowed)}; "
            "a lower context_length, parallel or kv_cache_tokens needs less",
        )


def _never(instance: Instance, needed: int, found: Never) -> RpcError:
    way_out = (
        f"unload {' or '.join(map(repr, found.unloadable))}, which stay loaded for good"
        if found.unloadable
        else "a lower context_length or a smaller quantization needs less"
    )
    problem = (
        f"model {instance.spec.name!r} needs {_mib(needed)} and at most {_mib(found.available_bytes)} "
        f"can be made available; {way_out}"
    )
    return errors.insufficient_memory(needed, found.available_bytes, problem, found.unloadable)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f} MiB"
