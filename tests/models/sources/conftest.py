"""A hub of this test's own, and an environment in which pulls find it and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from fake_hub import FakeHub, fake_hub

from native_host.models.registry import BUILTIN_FILE
from native_host.models.sources.pulls import Pulls


@pytest.fixture(scope="session")
def model_bytes() -> bytes:
    """A real model: the built-in one."""
    return BUILTIN_FILE.read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with fake_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
        monkeypatch.setenv("NO_PROXY", "*")
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
        for variable in ("HF_TOKEN", "HF_HUB_OFFLINE", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(variable, raising=False)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where pulled models lie."""
    return tmp_path / "store"


@pytest_asyncio.fixture
async def pulls(folder: Path, hub: FakeHub) -> AsyncIterator[Pulls]:
    pulls = Pulls(folder)
    yield pulls
    await pulls.stop()
