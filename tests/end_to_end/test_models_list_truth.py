"""`models.list` is true at every moment: while models are loaded, used, unloaded, evicted and killed at
random, each answer is compared with the processes that exist and what they hold.

NATIVE_HOST_CHURN_S says for how many seconds (8; 60 for a thorough run).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
import pytest

from end_to_end.conftest import make_model
from end_to_end.processes import workers
from native_host.client import Host
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ModelListing

SECONDS = float(os.environ.get("NATIVE_HOST_CHURN_S", "8"))
NAMES = ("one", "two", "three", "four")
BUDGET = "400MB"
"""Two or three of the models."""
TO_BE_EXPECTED = {"cancelled", "worker_crashed"}
STATES = {"available", "loading", "loaded", "draining"}
SOON_S = 30.0
QUICK_S = 0.5
"""Where two looks are further apart, a worker may have come and gone between them unseen."""
GROWTH = 4 << 20
"""What a process may take or give back between two looks at it, in bytes."""
LOADING = 128 << 20
"""The same while it loads a model: the file, its weights once more as they are packed, and caches."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four models, two large and two tiny, that leave soon where nobody uses them."""
    folder = tmp_path_factory.mktemp("churn")
    for preset, (first, second) in (("small", NAMES[:2]), ("tiny", NAMES[2:])):
        shutil.copy(make_model(folder / f"{first}.gguf", preset), folder / f"{second}.gguf")
    entry = {"type": "gguf", "threads": 1, "keep_alive": "300ms"}
    file = folder / "models.json"
    file.write_text(json.dumps({"models": {name: {"path": f"{name}.gguf", **entry} for name in NAMES}}))
    return file


class Seen(msgspec.Struct, frozen=True):
    """A worker process: what it holds, and which model it has open, if any."""

    resident: int
    model: str | None


def look(host_pid: int) -> dict[int, Seen]:
    """The workers that live now."""
    found = {}
    for process in workers(host_pid):
        try:
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            resident = process.memory_info().rss
        except (psutil.Error, OSError):
            continue
        if resident:
            model = next((name for name in NAMES if f"/{name}.gguf" in maps), None)
            found[process.pid] = Seen(resident, model)
    return found


def check(listed: list[ModelListing], before: dict[int, Seen], after: dict[int, Seen]) -> list[str]:
    """Hold a list that was made between two looks against both; what it tells to be loaded in no process."""
    told = sum(each.memory_bytes or 0 for each in listed)
    lived_on = {pid for pid in before if pid in after and before[pid].model == after[pid].model is not None}
    loaded = {each.name for each in listed if each.state == "loaded"}
    steady = {pid for pid in lived_on if before[pid].model in loaded}

    def least(pids: Iterable[int]) -> int:
        lowest = {pid: min(before[pid].resident, after[pid].resident) for pid in pids}
        return sum(max(0, low - (GROWTH if pid in steady else LOADING)) for pid, low in lowest.items())

    def most(pid: int) -> int:
        highest = max(seen[pid].resident for seen in (before, after) if pid in seen)
        return highest + (GROWTH if pid in steady else LOADING)

    at_most = sum(most(pid) for pid in before.keys() | after.keys())
    assert least(lived_on) <= told <= at_most + GROWTH  # a process that has just begun may not be seen
    for each in listed:
        its_own = [pid for pid in lived_on if before[pid].model == each.name]
        if its_own:
            assert each.state in ("loading", "loaded", "draining")
            assert (each.memory_bytes or 0) >= least(its_own)
        if each.state == "available":
            assert each.memory_bytes is None
    held = {one.model for one in (*before.values(), *after.values())}
    return sorted(loaded - held)


def becomes_true(host: Host, name: str) -> bool:
    """Whether a model is soon in a process or no longer told to be loaded. When a process is killed, the
    system takes its memory a moment before it closes the connection by which the host learns of it.
    """
    deadline = time.monotonic() + SOON_S
    while time.monotonic() < deadline:
        told = next(each.state for each in host.models() if each.name == name)
        if told != "loaded" or any(one.model == name for one in look(host.info.server.pid).values()):
            return True
    return False


class Churn:
    """Does at random what can be done to models."""

    def __init__(self, host: Host) -> None:
        self.done = 0
        self._host = host
        self._over = threading.Event()

    def run(self, seed: int) -> None:
        draw = random.Random(seed)
        while not self._over.is_set():
            name = draw.choice(NAMES)
            try:
                self._act(draw.random(), name, draw)
                self.done += 1
            except RpcError as error:
                if error.kind not in TO_BE_EXPECTED:
                    raise

    def _act(self, what: float, name: str, draw: random.Random) -> None:
        if what < 0.6:
            self._host.generate("hello", model=name, max_tokens=draw.randint(1, 64), ignore_eos=True)
        elif what < 0.7:
            self._host.load(name)
        elif what < 0.85:
            self._host.unload(name, force=what < 0.75)
        else:
            found = workers(self._host.info.server.pid)
            if found:
                draw.choice(found).kill()

    def end(self) -> None:
        self._over.set()


def test_the_list_is_true_at_every_moment(models: Path) -> None:
    states = set()
    checks = 0
    with Host.spawn(models=models, env={"MEMORY_BUDGET": BUDGET}) as host:
        pid = host.info.server.pid
        churn = Churn(host)
        with ThreadPoolExecutor(4) as pool:
            churning = [pool.submit(churn.run, seed) for seed in range(4)]
            try:
                deadline = time.monotonic() + SECONDS
                enough = False
                while not enough or time.monotonic() < deadline:
                    began = time.monotonic()
                    before = look(pid)
                    listed = [each for each in host.models() if each.name in NAMES]
                    after = look(pid)
                    if time.monotonic() - began < QUICK_S:
                        for name in check(listed, before, after):
                            assert becomes_true(host, name), f"{name} is loaded in no process"
                        checks += 1
                    states |= {each.state for each in listed}
                    enough = states == STATES and min(checks, churn.done) > SECONDS
                    enough = enough or any(each.done() for each in churning)  # one has failed
            finally:
                churn.end()
        for each in churning:
            each.result()
        for name in NAMES:
            host.unload(name)
        assert {each.state for each in host.models() if each.name in NAMES} == {"available"}
    assert states == STATES
    assert checks > SECONDS
    assert churn.done > SECONDS
