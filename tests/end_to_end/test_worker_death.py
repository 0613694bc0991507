"""A worker killed from outside: the host lives, whoever waited is told, and the next request works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from end_to_end.processes import family, survivors, workers
from native_host.client import Host
from native_host.protocol.errors import RpcError


def test_killed_while_idle(host: Host) -> None:
    before = host.generate("hello", max_tokens=8, temperature=0.0)
    (worker,) = workers(host.info.server.pid)
    worker.kill()
    assert not survivors([worker])
    assert host.generate("hello", max_tokens=8, temperature=0.0).text == before.text
    (second,) = workers(host.info.server.pid)
    assert second.pid != worker.pid


def test_killed_while_generating(host: Host, slow_model: Path) -> None:
    stream = host.stream("hello", model="slow", max_tokens=4000, ignore_eos=True)
    pieces = iter(stream)
    next(pieces)
    (worker,) = workers(host.info.server.pid)
    worker.kill()
    with pytest.raises(RpcError, match="was killed by SIGKILL") as caught:
        list(pieces)
    assert (caught.value.kind, caught.value.data["attempts"]) == ("worker_crashed", 1)
    assert host.generate("hello", model="slow", max_tokens=2).text is not None


def test_whoever_only_waited_is_answered_by_the_next_worker(host: Host) -> None:
    host.load()
    (worker,) = workers(host.info.server.pid)
    worker.suspend()  # so that all 16 wait when it dies
    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(host.generate, "hello", max_tokens=20, ignore_eos=True) for _ in range(16)]
        while host.health().requests_in_flight < 16:
            pass
        worker.kill()
        assert [each.result().usage.completion_tokens for each in asking] == [20] * 16
    (second,) = workers(host.info.server.pid)
    assert second.pid != worker.pid


def test_unloading_ends_the_process_and_gives_the_memory_back(host: Host) -> None:
    host.load()
    (worker,) = workers(host.info.server.pid)
    assert state(host, "tiny") == "loaded"
    host.unload("tiny")
    assert not survivors([worker])
    assert state(host, "tiny") == "available"


def state(host: Host, model: str) -> str:
    return next(each.state for each in host.models() if each.name == model)


def test_two_models_are_two_processes(host: Host) -> None:
    host.load("tiny")
    host.load("another")
    assert len(workers(host.info.server.pid)) == 2
    everyone = family(host.info.server.pid)
    host.close()
    assert not survivors(everyone)


def test_a_worker_has_nothing_of_the_host_s(host: Host) -> None:
    host.load()
    (worker,) = workers(host.info.server.pid)
    assert worker.ppid() == host.info.server.pid
    theirs = {Path(f"/proc/{worker.pid}/fd/0").resolve()}
    assert theirs == {Path("/dev/null")}
    assert psutil.Process(worker.pid).cwd() != ""
