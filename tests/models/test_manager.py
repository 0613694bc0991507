"""The manager with real worker processes whose backend is a fake (see
tests/workers/fake_backend_worker.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from native_host.models.manager import ModelManager
from native_host.models.registry import Registry
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.errors import RpcError
from native_host.workers.launcher import OnLine, ProcessLauncher, WorkerHandle
from native_host.workers.messages import GenerateRequest, LoadOptions, TokenizeRequest
from native_host.workers.supervisor import Worker

FAKE_WORKER = Path(__file__).parents[1] / "workers" / "fake_backend_worker.py"
ENDLESS = GenerateRequest(prompt="forever", max_tokens=5, temperature=0, top_p=1, top_k=0, min_p=0, seed=1)


class CountingLauncher:
    """Counts the processes that it starts."""

    def __init__(self) -> None:
        self.launched = 0
        self._inner = ProcessLauncher((sys.executable, str(FAKE_WORKER)))

    async def launch(self, on_line: OnLine) -> WorkerHandle:
        self.launched += 1
        return await self._inner.launch(on_line)


@pytest.fixture
def launcher() -> CountingLauncher:
    return CountingLauncher()


@pytest.fixture
async def manager(tmp_path: Path, launcher: CountingLauncher) -> AsyncIterator[ModelManager]:
    specs = []
    for name in ("fine", "other", "bad", "hang", "exit"):
        (tmp_path / name).touch()
        entry = ModelEntry(path=str(tmp_path / name), type="gguf")
        specs.append(ModelSpec(name, entry, "gguf", tmp_path / name))
    specs.append(ModelSpec("away", ModelEntry(path="/none.gguf", type="gguf"), "gguf", Path("/none.gguf")))
    tensors = ModelEntry(path="owner/name", format="safetensor")
    specs.append(ModelSpec("tensors", tensors, "safetensors", None))
    manager = ModelManager(Registry(specs), launcher)
    yield manager
    await manager.stop()


def state(manager: ModelManager, name: str) -> str:
    return manager.status(manager.registry.resolve(name)).state


async def tokens(manager: ModelManager, name: str = "fine") -> list[int]:
    async with manager.use(name) as lease:
        return await lease.worker.tokenize(TokenizeRequest("hi"))


async def test_one_load_however_many_ask(manager: ModelManager, launcher: CountingLauncher) -> None:
    assert state(manager, "fine") == "available"
    answers = await asyncio.gather(*(tokens(manager) for _ in range(16)))
    assert answers == [[104, 105]] * 16
    assert launcher.launched == 1
    assert state(manager, "fine") == "loaded"


async def test_each_model_has_its_own_worker(manager: ModelManager, launcher: CountingLauncher) -> None:
    async with manager.use("fine") as first, manager.use("other") as second:
        assert first.worker.pid != second.worker.pid
        assert first.load_ms > 0
    async with manager.use("fine") as again:
        assert again.load_ms == 0
    assert launcher.launched == 2


async def test_a_load_that_fails_fails_for_all_and_can_be_tried_again(
    manager: ModelManager, launcher: CountingLauncher
) -> None:
    results = await asyncio.gather(*(tokens(manager, "bad") for _ in range(3)), return_exceptions=True)
    assert [error.kind for error in results if isinstance(error, RpcError)] == ["invalid_model_file"] * 3
    assert launcher.launched == 1
    with pytest.raises(RpcError):
        await tokens(manager, "bad")
    assert launcher.launched == 2
    assert state(manager, "bad") == "available"


@pytest.mark.parametrize(
    ("name", "kind"), [("away", "model_absent"), ("tensors", "model_absent"), ("nobody", "model_not_found")]
)
async def test_what_cannot_be_loaded_is_refused_without_a_process(
    manager: ModelManager, launcher: CountingLauncher, name: str, kind: str
) -> None:
    with pytest.raises(RpcError) as caught:
        await tokens(manager, name)
    assert caught.value.kind == kind
    assert launcher.launched == 0


async def test_the_last_to_give_up_ends_the_load(manager: ModelManager) -> None:
    heard = asyncio.Event()

    async def wait_for_it() -> None:
        async with manager.use("hang", lambda _: heard.set()):
            pass

    first, second = asyncio.create_task(wait_for_it()), asyncio.create_task(wait_for_it())
    await heard.wait()
    first.cancel()
    await asyncio.wait({first})
    assert state(manager, "hang") == "loading"
    second.cancel()
    await asyncio.wait({second})
    await manager.unload("hang")  # its process has ended then
    assert state(manager, "hang") == "available"


async def test_after_a_crash_the_next_request_gets_a_new_worker(
    manager: ModelManager, launcher: CountingLauncher
) -> None:
    async with manager.use("fine") as lease:
        pid = lease.worker.pid
        ending = asyncio.create_task(consume(lease.worker))
        os.kill(pid or 0, signal.SIGKILL)
        with pytest.raises(RpcError, match="SIGKILL"):
            await ending
    assert await tokens(manager) == [104, 105]
    assert launcher.launched == 2


async def consume(worker: Worker) -> None:
    async with worker.generate(ENDLESS) as batches:
        async for _ in batches:
            pass


async def test_unload_waits_for_requests_and_newcomers_get_another_worker(
    manager: ModelManager, launcher: CountingLauncher
) -> None:
    async with manager.use("fine") as lease:
        unload = asyncio.create_task(manager.unload("fine"))
        await asyncio.wait({unload}, timeout=0)
        assert state(manager, "fine") == "draining"
        assert await tokens(manager) == [104, 105]
        assert await lease.worker.tokenize(TokenizeRequest("a")) == [97]
        assert not unload.done()
    await unload
    assert launcher.launched == 2
    assert state(manager, "fine") == "loaded"


async def test_a_forced_unload_cancels(manager: ModelManager) -> None:
    async def endless() -> None:
        async with manager.use("fine") as lease:
            started.set()
            await consume(lease.worker)

    started = asyncio.Event()
    running = asyncio.create_task(endless())
    await started.wait()
    await manager.unload("fine", force=True)
    with pytest.raises(RpcError) as caught:
        await running
    assert caught.value.kind == "cancelled"
    assert state(manager, "fine") == "available"


async def test_a_forced_unload_ends_a_load(manager: ModelManager) -> None:
    heard = asyncio.Event()
    load = asyncio.create_task(manager.load("hang", on_progress=lambda _: heard.set()))
    await heard.wait()
    await manager.unload("hang", force=True)
    with pytest.raises(RpcError) as caught:
        await load
    assert caught.value.kind == "cancelled"


async def test_a_load_can_be_ended_before_its_first_step(manager: ModelManager) -> None:
    load = asyncio.create_task(manager.load("hang"))
    unload = asyncio.create_task(manager.unload("hang", force=True))
    await asyncio.wait_for(unload, 20)
    with pytest.raises(RpcError, match="unloaded"):
        await load
    assert state(manager, "hang") == "available"


async def test_unloading_what_is_not_loaded_is_no_error(manager: ModelManager) -> None:
    await manager.unload("fine")
    assert state(manager, "fine") == "available"


async def test_loading_with_other_options_loads_anew(
    manager: ModelManager, launcher: CountingLauncher
) -> None:
    await manager.load("fine")
    await manager.load("fine", LoadOptions())
    assert launcher.launched == 1
    await manager.load("fine", LoadOptions(threads=1))
    assert launcher.launched == 2


async def test_stop_ends_everything(manager: ModelManager) -> None:
    heard = asyncio.Event()
    loading = asyncio.create_task(manager.load("hang", on_progress=lambda _: heard.set()))
    await heard.wait()
    lease = await manager.load("fine")
    await manager.stop()
    with pytest.raises(RpcError) as caught:
        await loading
    assert caught.value.kind == "shutting_down"
    with pytest.raises(ProcessLookupError):
        os.kill(lease.worker.pid or 0, 0)
    with pytest.raises(RpcError) as caught:
        await tokens(manager)
    assert caught.value.kind == "shutting_down"


async def test_an_unforeseen_failure_of_a_load_is_told_to_whoever_waits(
    manager: ModelManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*_: object, **__: object) -> Worker:
        raise KeyError("unforeseen")

    monkeypatch.setattr(Worker, "start", start)
    with pytest.raises(RpcError) as caught:
        async with manager.use("fine"):
            pass
    assert caught.value.kind == "internal_error"
    assert state(manager, "fine") == "available"
