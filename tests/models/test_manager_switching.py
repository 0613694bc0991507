"""Edits of `models.json` while requests run, idle unloading, pinning, deadlines; real worker processes whose
backend is a fake (see tests/workers/fake_backend_worker.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from native_host.models.manager import Limits, ModelManager
from native_host.models.registry_file import RegistryFile
from native_host.protocol.errors import RpcError
from native_host.workers.launcher import ProcessLauncher
from native_host.workers.messages import LoadOptions, TokenizeRequest

from .recorder import Recorder

FAKE_WORKER = Path(__file__).parents[1] / "workers" / "fake_backend_worker.py"

Entries = dict[str, dict[str, object]]


class Folder:
    """A folder with a `models.json` that tests edit."""

    def __init__(self, path: Path) -> None:
        self.file = path / "models.json"
        for name in ("fine", "other", "hang", "bad"):
            (path / name).touch()

    def write(self, entries: Entries) -> None:
        """Each model opens the file of its name, unless its entry says another."""
        models = {name: {"path": name, "type": "gguf", **entry} for name, entry in entries.items()}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"models": models}, indent=1))
        new.replace(self.file)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
async def make(folder: Folder) -> AsyncIterator[Callable[..., ModelManager]]:
    async with contextlib.AsyncExitStack() as stack:

        def make_one(entries: Entries, limits: Limits | None = None) -> ModelManager:
            folder.write(entries)
            launcher = ProcessLauncher((sys.executable, str(FAKE_WORKER)))
            manager = ModelManager(RegistryFile(lambda: folder.file), launcher, limits)
            stack.push_async_callback(manager.stop)
            return manager

        yield make_one


Make = Callable[..., ModelManager]


def state(manager: ModelManager, name: str) -> str:
    return manager.status(manager.registry.resolve(name)).state


async def pid(manager: ModelManager, name: str) -> int | None:
    async with manager.use(name) as lease:
        return lease.worker.pid


# Edits of models.json


async def test_a_changed_entry_is_loaded_anew_while_the_old_worker_finishes(
    make: Make, folder: Folder
) -> None:
    manager = make({"fine": {}})
    recorder = Recorder(manager)
    async with manager.use("fine") as old:
        folder.write({"fine": {"threads": 1}})
        async with manager.use("fine") as new:
            assert new.worker.pid != old.worker.pid
            assert new.spec.entry.threads == 1
            assert await old.worker.tokenize(TokenizeRequest("a")) == [97]
            assert state(manager, "fine") == "loaded"
    assert (await recorder.until("fine", "draining")).reason == "changed"
    await recorder.until("fine", "ended")
    assert await pid(manager, "fine") == new.worker.pid


async def test_an_edit_that_loading_does_not_depend_on_keeps_the_worker(make: Make, folder: Folder) -> None:
    manager = make({"fine": {}})
    before = await pid(manager, "fine")
    folder.write({"fine": {"aliases": ["nice"], "keep_alive": "1h", "sampling": {"top_k": 1}}})
    async with manager.use("nice") as lease:
        assert lease.worker.pid == before
        assert lease.spec.entry.sampling.top_k == 1
    left = manager.status(manager.registry.resolve("nice")).idle_left_s
    assert left is not None
    assert 3590 < left <= 3600


async def test_a_removed_model_finishes_and_is_gone(make: Make, folder: Folder) -> None:
    manager = make({"fine": {}, "other": {}})
    recorder = Recorder(manager)
    async with manager.use("other") as lease:
        folder.write({"fine": {}})
        with pytest.raises(RpcError) as caught:
            await pid(manager, "other")
        assert caught.value.kind == "model_not_found"
        assert await lease.worker.tokenize(TokenizeRequest("a")) == [97]
    await recorder.until("other", "ended")
    assert manager.events.counts["other", "draining", "removed"] == 1


async def test_a_model_that_changes_while_it_loads_serves_who_waited(make: Make, folder: Folder) -> None:
    manager = make({"fine": {}})
    recorder = Recorder(manager)
    waiting = asyncio.create_task(pid(manager, "fine"))
    await recorder.until("fine", "loading")
    folder.write({"fine": {"threads": 2}})
    second = await pid(manager, "fine")
    assert await waiting not in (None, second)
    await recorder.until("fine", "ended")


async def test_a_broken_edit_changes_nothing_and_is_told(make: Make, folder: Folder) -> None:
    manager = make({"fine": {}})
    before = await pid(manager, "fine")
    assert manager.problems() == []
    folder.file.write_text('{"models": {"fine": {"path": "fine",\n"thread": 1}}}')
    assert await pid(manager, "fine") == before
    (problem,) = manager.problems()
    assert f"{folder.file}:2: models.fine.thread: unknown key" in problem
    (without_folder,) = manager.problems(name_files=False)
    assert without_folder == problem.replace(f"{folder.file.parent}/", "")
    folder.write({"fine": {"type": "gguf"}})
    assert manager.problems() == []


async def test_loading_with_other_options_lets_the_old_worker_finish(make: Make) -> None:
    manager = make({"fine": {}})
    async with manager.use("fine") as old:
        new = await manager.load("fine", LoadOptions(threads=1))
        assert new.worker.pid != old.worker.pid
        assert await old.worker.tokenize(TokenizeRequest("a")) == [97]
        assert await pid(manager, "fine") == new.worker.pid


# Staying and going


async def test_an_idle_model_is_unloaded_after_its_keep_alive(make: Make) -> None:
    manager = make({"fine": {"keep_alive": "50ms"}, "other": {}})
    recorder = Recorder(manager)
    await pid(manager, "other")
    await pid(manager, "fine")
    await recorder.until("fine", "ended")
    assert (await recorder.until("fine", "draining")).reason == "idle"
    assert (state(manager, "fine"), state(manager, "other")) == ("available", "loaded")


async def test_whoever_loads_a_model_may_say_how_long_it_stays(make: Make) -> None:
    manager = make({"fine": {"keep_alive": -1}})
    recorder = Recorder(manager)
    await manager.load("fine", keep_alive_s=0.05)
    assert (await recorder.until("fine", "draining")).reason == "idle"


async def test_the_keep_alive_of_all_others_is_a_setting(make: Make) -> None:
    manager = make({"fine": {}}, Limits(keep_alive_s=0.0))
    recorder = Recorder(manager)
    await pid(manager, "fine")
    assert (await recorder.until("fine", "draining")).reason == "idle"


async def test_a_model_in_use_does_not_age(make: Make) -> None:
    manager = make({"fine": {"keep_alive": 0}})
    recorder = Recorder(manager)
    async with manager.use("fine") as first:
        assert await pid(manager, "fine") == first.worker.pid
        assert manager.status(first.spec).idle_left_s is None
        assert state(manager, "fine") == "loaded"
    await recorder.until("fine", "ended")


async def test_pinned_models_are_loaded_ahead_and_stay(make: Make) -> None:
    manager = make({"fine": {"pinned": True}, "bad": {"pinned": True}, "other": {}}, Limits(keep_alive_s=0.0))
    await manager.load_pinned()
    assert (state(manager, "fine"), state(manager, "other")) == ("loaded", "available")
    assert manager.status(manager.registry.resolve("fine")).idle_left_s is None
    assert manager.events.counts["bad", "load_failed", ""] == 1


async def test_a_load_has_a_deadline(make: Make) -> None:
    manager = make({"hang": {}}, Limits(load_timeout_s=0.5))
    with pytest.raises(RpcError, match=r"not loaded within 0\.5 s") as caught:
        await pid(manager, "hang")
    assert caught.value.kind == "model_load_failed"
    assert state(manager, "hang") == "available"


# Events


async def test_events_tell_a_life_and_end_with_the_subscription(make: Make) -> None:
    manager = make({"fine": {}})
    recorder = Recorder(manager)
    heard: list[object] = []
    unsubscribe = manager.events.subscribe(heard.append)
    await pid(manager, "fine")
    unsubscribe()
    await manager.unload("fine")
    assert [(event.what, event.reason) for event in recorder.events] == [
        ("loading", ""),
        ("loaded", ""),
        ("draining", "asked"),
        ("ended", ""),
    ]
    assert len({event.instance for event in recorder.events}) == 1
    assert len(heard) == 2


async def test_a_listener_that_fails_costs_nobody_the_event(make: Make) -> None:
    manager = make({"fine": {}})

    def fails(event: object) -> None:
        raise KeyError("a fault of the listener's own")

    manager.events.subscribe(fails)
    recorder = Recorder(manager)
    await pid(manager, "fine")
    assert recorder.events[-1].what == "loaded"
