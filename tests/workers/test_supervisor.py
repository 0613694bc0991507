"""The supervisor against real worker processes whose backend is a fake (see fake_backend_worker.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.launcher import ProcessLauncher, describe_exit
from native_host.workers.messages import (
    Event,
    Finished,
    GenerateRequest,
    LoadRequest,
    Piece,
    Started,
    TokenizeRequest,
)
from native_host.workers.supervisor import HIGH_WATER, Worker

FAKE = ProcessLauncher((sys.executable, str(Path(__file__).with_name("fake_backend_worker.py"))))


def ask(prompt: str) -> GenerateRequest:
    return GenerateRequest(prompt=prompt, max_tokens=5, temperature=0, top_p=1, top_k=0, min_p=0, seed=1)


@asynccontextmanager
async def running(
    path: str = "/fine", *, on_end: Callable[[Worker], None] = lambda _: None, stall_s: float = 30
) -> AsyncIterator[Worker]:
    worker = await start(path, on_end=on_end, stall_s=stall_s)
    try:
        yield worker
    finally:
        await worker.stop()


async def start(
    path: str,
    *,
    on_end: Callable[[Worker], None] = lambda _: None,
    on_progress: Callable[[float], None] = lambda _: None,
    stall_s: float = 30,
) -> Worker:
    request = LoadRequest("gguf", path)
    return await Worker.start(FAKE, "m", request, on_progress=on_progress, on_end=on_end, stall_s=stall_s)


async def collect(worker: Worker, prompt: str) -> list[Event]:
    async with worker.generate(ask(prompt)) as batches:
        return [event async for batch in batches for event in batch]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_events_arrive_in_order_and_end_with_finished() -> None:
    async with running() as worker:
        events = await collect(worker, "one two three")
    assert isinstance(events[0], Started)
    assert [event.text for event in events if isinstance(event, Piece)] == ["3 ", "2 ", "1 "]
    assert isinstance(events[-1], Finished)


async def test_requests_side_by_side_are_kept_apart() -> None:
    async with running() as worker:
        answers = await asyncio.gather(*(collect(worker, "word " * n) for n in range(1, 17)))
    assert [len(events) - 2 for events in answers] == list(range(1, 17))


async def test_load_progress_is_passed_on() -> None:
    fractions: list[float] = []
    worker = await start("/fine", on_progress=fractions.append)
    await worker.stop()
    assert fractions == [0.0, 0.5, 1.0]


async def test_an_error_of_the_backend_arrives_as_itself() -> None:
    with pytest.raises(RpcError) as caught:
        await start("/bad")
    assert caught.value.kind == "invalid_model_file"
    assert caught.value.data["file"] == "/bad"


async def test_a_fault_of_the_backend_is_answered_too() -> None:
    with pytest.raises(RpcError) as caught:
        await start("/fault")
    assert caught.value.kind == "internal_error"
    assert caught.value.data["incident"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("/die", "was killed by SIGKILL"), ("/exit", "exited with code 3"), ("/garbage", "no message")],
)
async def test_death_and_nonsense_while_loading(path: str, said: str) -> None:
    with pytest.raises(RpcError, match=said) as caught:
        await start(path)
    assert caught.value.kind == "worker_crashed"


async def test_a_worker_that_is_silent_while_it_loads_is_ended() -> None:
    ended: list[Worker] = []
    with pytest.raises(RpcError, match="silent") as caught:
        await start("/hang", on_end=ended.append, stall_s=1.0)
    assert caught.value.kind == "model_load_failed"
    assert gone(ended[0].pid or 0)


async def test_a_crash_fails_every_request_in_flight_and_is_told_at_once() -> None:
    ended = asyncio.Event()
    async with running(on_end=lambda _: ended.set()) as worker:
        endless = [asyncio.create_task(collect(worker, "forever")) for _ in range(3)]
        with pytest.raises(RpcError, match="SIGKILL") as caught:
            await collect(worker, "die")
        assert caught.value.kind == "worker_crashed"
        for task in endless:
            with pytest.raises(RpcError, match="SIGKILL"):
                await task
        assert ended.is_set()
        with pytest.raises(RpcError):
            await worker.tokenize(TokenizeRequest("too late"))


async def test_an_idle_crash_is_noticed_without_a_request() -> None:
    ended = asyncio.Event()
    async with running(on_end=lambda _: ended.set()) as worker:
        os.kill(worker.pid or 0, signal.SIGKILL)
        await ended.wait()
        assert not worker.alive


async def test_a_slow_consumer_pauses_its_own_generation_and_loses_nothing() -> None:
    async with running() as worker, worker.generate(ask("forever")) as slow:
        while len(slow._events) < HIGH_WATER:
            assert len(await collect(worker, "others go on")) == 5
        # The worker reads in order: when it answers the next request, it has heard that the slow one pauses.
        await collect(worker, "one")
        waiting = len(slow._events)
        # Every step would have brought a piece for the slow one too.
        assert len(await collect(worker, "word " * 100)) == 102
        assert len(slow._events) == waiting
        texts: list[str] = []
        while len(texts) <= waiting + HIGH_WATER:
            batch = await slow.__anext__()
            texts += [event.text for event in batch if isinstance(event, Piece)]
    assert texts == [f"{-number} " for number in range(1, len(texts) + 1)]


async def test_a_paused_generation_can_be_left() -> None:
    async with running() as worker:
        async with worker.generate(ask("forever")) as slow:
            while len(slow._events) < HIGH_WATER:
                await collect(worker, "one")
        assert worker._streams == {}
        assert len(await collect(worker, "one")) == 3


async def test_leaving_the_block_cancels_in_the_worker() -> None:
    async with running() as worker:
        async with worker.generate(ask("forever")) as batches:
            async for _ in batches:
                break
        # The worker answers others as before, and what it still says of the cancelled one is ignored.
        assert len(await collect(worker, "one")) == 3


async def test_a_cancelled_task_leaves_nothing_behind() -> None:
    async with running() as worker:
        task = asyncio.create_task(collect(worker, "forever"))
        await collect(worker, "one")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert worker._streams == {}


async def test_stop_ends_the_process_and_its_requests() -> None:
    worker = await start("/fine")
    task = asyncio.create_task(collect(worker, "forever"))
    await collect(worker, "one")
    await worker.stop()
    with pytest.raises(RpcError) as caught:
        await task
    assert caught.value.kind == "shutting_down"
    assert gone(worker.pid or 0)


async def test_a_frozen_worker_is_ended_all_the_same() -> None:
    worker = await start("/fine")
    os.kill(worker.pid or 0, signal.SIGSTOP)
    await worker.stop()
    assert gone(worker.pid or 0)


async def test_a_cancelled_load_ends_the_process() -> None:
    ended: list[Worker] = []
    heard = asyncio.Event()
    load = asyncio.create_task(start("/hang", on_end=ended.append, on_progress=lambda _: heard.set()))
    await heard.wait()
    load.cancel()
    with pytest.raises(asyncio.CancelledError):
        await load
    assert gone(ended[0].pid or 0)


def links(pid: int | None) -> dict[str, str]:
    """What each descriptor of a process stands for."""
    return {fd.name: str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}


async def test_a_worker_holds_no_descriptor_of_the_host_and_no_terminal() -> None:
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    async with running() as worker, running() as second:
        for each in (worker, second):
            theirs = links(each.pid)
            assert f"pipe:[{os.fstat(secret).st_ino}]" not in theirs.values()
            # One to the host, and asyncio's own pair.
            assert sum(link.startswith("socket:") for link in theirs.values()) <= 3
            assert theirs["0"] == "/dev/null"
            assert os.getpgid(each.pid or 0) == each.pid
    os.close(secret)
    os.close(other)


def test_how_a_process_ended() -> None:
    assert describe_exit(0) == "exited with code 0"
    assert describe_exit(-9) == "was killed by SIGKILL"
    assert describe_exit(-64) == "was killed by SIGRTMAX"
