"""One worker for each backend, for all tests of the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cases import CASES, REFERENCE, Case
from .loaded import Loaded


@pytest.fixture(scope="session", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """A backend."""
    return CASES[request.param]


@pytest.fixture(scope="session")
def loaded(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Its worker."""
    worker = Loaded(case, case.make(tmp_path_factory.mktemp("model")))
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """The worker whose answers are right."""
    worker = Loaded(REFERENCE, REFERENCE.make(tmp_path_factory.mktemp("reference")))
    yield worker
    worker.close()
