"""The fake host as a command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


@pytest.fixture
def fake_host() -> list[str]:
    """What to spawn for a host that does what the tests need (see `fake_host.py`)."""
    return [sys.executable, str(Path(__file__).with_name("fake_host.py"))]
