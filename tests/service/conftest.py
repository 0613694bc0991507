"""A service over a real worker process whose backend is a fake (tests/workers/fake_backend_worker.py)."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from native_host.models.manager import ModelManager
from native_host.models.registry import Registry
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.service import Service
from native_host.workers.launcher import ProcessLauncher

FAKE_WORKER = Path(__file__).parents[1] / "workers" / "fake_backend_worker.py"


@pytest.fixture
def manager(tmp_path: Path) -> ModelManager:
    specs = []
    for name in ("fine", "hang"):
        (tmp_path / name).touch()
        specs.append(ModelSpec(name, ModelEntry(path=name), "gguf", tmp_path / name))
    return ModelManager(Registry(specs), ProcessLauncher((sys.executable, str(FAKE_WORKER))))


@pytest.fixture
async def service(manager: ModelManager) -> AsyncIterator[Service]:
    service = Service(manager)
    yield service
    await service.stop()
