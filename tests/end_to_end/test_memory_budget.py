"""Three models under a budget that fits two: real models, real workers, memory as the system counts it."""

from __future__ import annotations

import json
import random
import shutil
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import psutil
import pytest

from end_to_end.conftest import make_model
from end_to_end.processes import workers
from native_host.client import Host

NAMES = ("one", "two", "three")
FITS = 2
TOLERANCE = 1.05
ROOM_TO_LOAD = 0.7
"""Where a processor wants its weights packed, a model that is being loaded has them twice."""


@pytest.fixture(scope="module")
def three_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `models.json` of three models of one size, each with a file of its own."""
    folder = tmp_path_factory.mktemp("three")
    first = make_model(folder / "one.gguf", "small")
    for name in NAMES[1:]:
        shutil.copy(first, folder / f"{name}.gguf")
    file = folder / "models.json"
    models = {name: {"path": f"{name}.gguf", "threads": 1} for name in NAMES}
    file.write_text(json.dumps({"models": models}))
    return file


def held(process: psutil.Process) -> int:
    """Memory of a process with shared pages counted by its part; nothing for one that has ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


class Watch:
    """Looks at the workers' memory all the time."""

    def __init__(self, host: Host) -> None:
        self.highest = 0
        self.most_workers = 0
        self._pid = host.info.server.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.is_set():
            found = workers(self._pid)
            self.highest = max(self.highest, sum(held(process) for process in found))
            self.most_workers = max(self.most_workers, len(found))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


@pytest.fixture(scope="module")
def one_models_memory(three_models: Path) -> int:
    """What a worker with one of them holds."""
    with Host.spawn(models=three_models) as host:
        host.generate("hello", max_tokens=4)
        (worker,) = workers(host.info.server.pid)
        return held(worker)


def loaded(host: Host) -> set[str]:
    return {each.name for each in host.models() if each.state == "loaded"}


def ask(host: Host, model: str) -> int:
    answer = host.generate("hello", model=model, max_tokens=4, ignore_eos=True, timeout_s=60)
    return answer.usage.completion_tokens


def test_two_hundred_requests_are_answered_within_the_budget(
    three_models: Path, one_models_memory: int
) -> None:
    budget = int(one_models_memory * (FITS + ROOM_TO_LOAD))
    draw = random.Random(5)
    recent: OrderedDict[str, None] = OrderedDict()
    with Host.spawn(models=three_models, env={"MEMORY_BUDGET": str(budget)}) as host, Watch(host) as watch:
        for _ in range(100):  # one after the other, so that what is evicted is known
            name = draw.choice(NAMES)
            assert ask(host, name) == 4
            recent[name] = None
            recent.move_to_end(name)
            while len(recent) > FITS:
                recent.popitem(last=False)
            assert loaded(host) == set(recent)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda name: ask(host, name), draw.choices(NAMES, k=100)))
    assert answers == [4] * 100
    assert one_models_memory * FITS * 0.9 < watch.highest <= budget * TOLERANCE
    assert watch.most_workers >= FITS


def test_three_first_loads_at_once_stay_within_the_budget(three_models: Path, one_models_memory: int) -> None:
    budget = int(one_models_memory * (FITS + ROOM_TO_LOAD))
    with Host.spawn(models=three_models, env={"MEMORY_BUDGET": str(budget)}) as host, Watch(host) as watch:
        with ThreadPoolExecutor(len(NAMES)) as pool:
            assert list(pool.map(lambda name: ask(host, name), NAMES)) == [4] * len(NAMES)
        assert len(loaded(host)) == FITS
    assert one_models_memory < watch.highest <= budget * TOLERANCE
    assert watch.most_workers <= FITS


def test_thirty_two_first_requests_are_one_load(three_models: Path) -> None:
    lines: list[dict[str, object]] = []
    with Host.spawn(models=three_models, on_log=lambda line: lines.append(json.loads(line))) as host:
        with ThreadPoolExecutor(32) as pool:
            assert list(pool.map(lambda name: ask(host, name), ["one"] * 32)) == [4] * 32
        assert len(workers(host.info.server.pid)) == 1
    assert [line["event"] for line in lines].count("model.loading") == 1
