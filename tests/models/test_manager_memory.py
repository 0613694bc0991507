"""The memory budget, with real worker processes that hold known amounts (their backend is a fake, see
tests/workers/fake_backend_worker.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from native_host.models.events import ModelEvent
from native_host.models.manager import Limits, ModelManager
from native_host.models.memory import WORKER_BYTES
from native_host.models.registry import Registry
from native_host.models.room import Predict
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.errors import RpcError
from native_host.workers.launcher import OnLine, ProcessLauncher, WorkerHandle
from native_host.workers.messages import LoadOptions, TokenizeRequest

from .recorder import Recorder

FAKE_WORKER = Path(__file__).parents[1] / "workers" / "fake_backend_worker.py"
MIB = 1 << 20
NEVER_IMPATIENT = 3600.0

Make = Callable[..., ModelManager]


async def foreseen(spec: ModelSpec, options: LoadOptions) -> int:
    """What the fake backend will hold, and the process around it."""
    assert spec.file is not None
    return WORKER_BYTES + int(spec.file.name.removeprefix("holds-") or 0) * MIB


def foreseen_mib(*sizes: int) -> int:
    return sum(WORKER_BYTES + size * MIB for size in sizes)


class TellingLauncher:
    """Tells of each process before it starts it."""

    def __init__(self, on_launch: Callable[[], None]) -> None:
        self._on_launch = on_launch
        self._inner = ProcessLauncher((sys.executable, str(FAKE_WORKER)))

    async def launch(self, on_line: OnLine) -> WorkerHandle:
        self._on_launch()
        return await self._inner.launch(on_line)


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a manager of models that hold 100, 101, 102 and 300 MiB, named a, b, c and big."""
    async with contextlib.AsyncExitStack() as stack:

        def make_one(
            budget: int | None,
            *,
            patience_s: float = NEVER_IMPATIENT,
            left: int = 1 << 40,
            predict: Predict = foreseen,
            on_launch: Callable[[], None] = lambda: None,
            **keys: object,
        ) -> ModelManager:
            specs = []
            for name, size in (("a", 100), ("b", 101), ("c", 102), ("big", 300)):
                file = tmp_path / f"holds-{size}"
                file.touch()
                entry = ModelEntry(path=str(file), **keys.get(name, {}))  # type: ignore[arg-type]  # keys of an entry
                specs.append(ModelSpec(name, entry, "gguf", file))
            limits = Limits(memory_budget=budget, patience_s=patience_s)
            manager = ModelManager(Registry(specs), TellingLauncher(on_launch), limits, predict, lambda: left)
            stack.push_async_callback(manager.stop)
            return manager

        yield make_one


def loaded(manager: ModelManager) -> set[str]:
    specs = manager.registry.specs()
    return {spec.name for spec in specs if manager.status(spec).state == "loaded"}


async def use(manager: ModelManager, name: str) -> None:
    async with manager.use(name) as lease:
        await lease.worker.tokenize(TokenizeRequest("a"))


async def test_the_least_recently_used_model_makes_room(make: Make) -> None:
    manager = make(foreseen_mib(102, 102))
    recorder = Recorder(manager)
    for name in ("a", "b", "a", "c"):
        await use(manager, name)
    assert loaded(manager) == {"a", "c"}
    evicted = [event.model for event in recorder.events if event.reason == "evicted"]
    assert evicted == ["b"]
    assert manager.events.counts["b", "draining", "evicted"] == 1
    assert manager.events.counts["a", "loaded", ""] == 1


async def test_measured_memory_takes_the_place_of_what_was_foreseen(make: Make) -> None:
    manager = make(None)
    recorder = Recorder(manager)
    await use(manager, "a")
    event = await recorder.until("a", "loaded")
    assert 100 * MIB < (event.memory_bytes or 0) < foreseen_mib(100)
    status = manager.status(manager.registry.resolve("a"))
    assert 100 * MIB < (status.memory_bytes or 0) < 200 * MIB


async def test_what_a_loaded_model_may_spill_is_held_for_it(make: Make) -> None:
    manager = make(foreseen_mib(102, 102), a={"spill_memory": "60MB"})
    await use(manager, "a")
    await use(manager, "b")  # both fit by what they hold, but not by what the first may yet hold
    assert loaded(manager) == {"b"}
    assert manager.events.counts["a", "draining", "evicted"] == 1
    await use(manager, "c")
    assert loaded(manager) == {"b", "c"}


async def test_a_model_that_held_more_than_was_foreseen_is_foreseen_to_do_so_again(make: Make) -> None:
    async def too_little(spec: ModelSpec, options: LoadOptions) -> int:
        return MIB

    manager = make(100 * MIB, predict=too_little)
    await use(manager, "a")
    await manager.unload("a")
    with pytest.raises(RpcError) as caught:
        await use(manager, "a")
    assert caught.value.kind == "insufficient_memory"
    assert caught.value.data["needed_bytes"] > 100 * MIB


async def test_what_can_never_fit_is_refused_before_a_process_is_started(make: Make) -> None:
    manager = make(foreseen_mib(102, 102))
    with pytest.raises(RpcError, match=r"model 'big' needs 348 MiB and at most 300 MiB") as caught:
        await use(manager, "big")
    assert caught.value.kind == "insufficient_memory"
    assert caught.value.data["needed_bytes"] == foreseen_mib(300)
    assert caught.value.data["available_bytes"] == foreseen_mib(102, 102)
    assert manager.status(manager.registry.resolve("big")).state == "available"


async def by_context(spec: ModelSpec, options: LoadOptions) -> int:
    """Each token of the context takes a MiB."""
    return await foreseen(spec, options) + (options.context_length or 0) * MIB


async def test_a_model_stays_where_there_can_be_no_room_for_its_successor(make: Make) -> None:
    manager = make(foreseen_mib(120), predict=by_context)
    recorder = Recorder(manager)
    before = await manager.load("a")
    with pytest.raises(RpcError) as caught:
        await manager.load("a", LoadOptions(context_length=1000))
    assert caught.value.kind == "insufficient_memory"
    assert caught.value.data["available_bytes"] == foreseen_mib(120)
    assert (await manager.load("a")).worker is before.worker
    assert [event.what for event in recorder.events] == ["loading", "loaded"]
    after = await manager.load("a", LoadOptions(context_length=10))  # which takes its place
    assert after.worker.pid != before.worker.pid
    assert loaded(manager) == {"a"}


async def test_a_pinned_model_is_not_in_the_way_of_its_own_successor(make: Make) -> None:
    manager = make(foreseen_mib(120), predict=by_context, a={"pinned": True})
    before = await manager.load("a")
    after = await manager.load("a", LoadOptions(context_length=10))
    assert after.worker.pid != before.worker.pid
    with pytest.raises(RpcError) as caught:
        await manager.load("a", LoadOptions(context_length=1000))
    assert caught.value.kind == "insufficient_memory"
    assert (await manager.load("a")).worker is after.worker


async def test_what_the_machine_has_left_is_a_limit_too(make: Make) -> None:
    manager = make(None, left=foreseen_mib(100) - 1)
    with pytest.raises(RpcError) as caught:
        await use(manager, "a")
    assert caught.value.kind == "insufficient_memory"


async def test_pinned_models_are_never_evicted_and_said_to_be_in_the_way(make: Make) -> None:
    manager = make(foreseen_mib(102, 102), a={"pinned": True})
    for name in ("a", "b", "c"):
        await use(manager, name)
    assert loaded(manager) == {"a", "c"}
    manager = make(foreseen_mib(300), a={"pinned": True})
    await use(manager, "a")
    with pytest.raises(RpcError, match="unload 'a'") as caught:
        await use(manager, "big")
    assert caught.value.data["unloadable"] == ["a"]


async def test_where_all_models_are_in_use_a_request_waits_for_one(make: Make) -> None:
    manager = make(foreseen_mib(102, 102))
    async with manager.use("a"):
        async with manager.use("b"):
            waiting = asyncio.create_task(use(manager, "c"))
            await Recorder(manager).until("c", "loading")
            assert not waiting.done()
            assert manager.status(manager.registry.resolve("c")).state == "loading"
        await waiting
        assert loaded(manager) == {"a", "c"}


async def test_a_request_that_waits_for_memory_can_be_given_up(make: Make) -> None:
    manager = make(foreseen_mib(102))
    async with manager.use("a"):
        waiting = asyncio.create_task(use(manager, "b"))
        await Recorder(manager).until("b", "loading")
        waiting.cancel()
        await asyncio.wait({waiting})
        await manager.unload("b")
        assert manager.status(manager.registry.resolve("b")).state == "available"
        assert loaded(manager) == {"a"}


def waits_for_news() -> bool:
    """Whether some task waits for an event, and does nothing else."""
    return any(getattr(each.get_coro(), "__qualname__", "") == "Event.wait" for each in asyncio.all_tasks())


@pytest.mark.parametrize("steps", range(5))
async def test_a_load_that_is_ended_in_the_moment_that_memory_comes_free_is_not_begun(
    make: Make, steps: int
) -> None:
    launches = 0

    def launched() -> None:
        nonlocal launches
        launches += 1

    manager = make(foreseen_mib(102), on_launch=launched)
    recorder = Recorder(manager)
    async with manager.use("a"):
        waiting = asyncio.create_task(use(manager, "b"))
        await recorder.until("b", "loading")
        while not waits_for_news():  # noqa: ASYNC110 -- what it waits for tells nobody
            await asyncio.sleep(0)
    for _ in range(steps):  # of the event loop, between the news and the end
        await asyncio.sleep(0)
    await manager.unload("b", force=True)
    with pytest.raises(RpcError, match="unloaded"):
        await waiting
    assert launches == 1


async def test_a_model_that_is_never_idle_gives_way_in_turn(make: Make) -> None:
    manager = make(foreseen_mib(102), patience_s=0.0)
    async with manager.use("a") as first:
        waiting = asyncio.create_task(use(manager, "b"))
        event = await Recorder(manager).until("a", "draining")
        assert event.reason == "turn"
        again = asyncio.create_task(use(manager, "a"))  # not served by the worker that is draining
        assert await first.worker.tokenize(TokenizeRequest("a")) == [97]
    await waiting
    await again
    assert manager.events.counts["a", "loaded", ""] == 2


async def test_its_own_max_memory_is_a_limit(make: Make) -> None:
    manager = make(None, a={"max_memory": "120MB"}, b={"max_memory": {"cpu": "1GB"}})
    with pytest.raises(RpcError, match="its max_memory is 120 MiB") as caught:
        await use(manager, "a")
    assert (caught.value.kind, caught.value.data["available_bytes"]) == ("insufficient_memory", 120 * MIB)
    await use(manager, "b")


async def test_memory_of_a_worker_that_died_is_free(make: Make) -> None:
    manager = make(foreseen_mib(102))
    async with manager.use("a") as lease:
        lease.worker.end(RpcError("worker_crashed", "killed by the test"))
        await use(manager, "b")
    assert loaded(manager) == {"b"}


async def test_a_crowd_of_models_is_served_within_the_budget(make: Make) -> None:
    budget = foreseen_mib(102, 102)
    manager = make(budget, patience_s=0.05)
    highest = 0

    def look(event: ModelEvent) -> None:
        nonlocal highest
        held = [manager.status(spec).memory_bytes or 0 for spec in manager.registry.specs()]
        highest = max(highest, sum(held))

    manager.events.subscribe(look)
    names = ["a", "b", "c", "a", "b", "c"] * 4
    await asyncio.gather(*(use(manager, name) for name in names))
    assert 0 < highest <= budget
