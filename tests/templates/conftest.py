"""The public chat templates of the day, as the pinned sources of llama.cpp bring them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def templates() -> dict[str, str]:
    """Texts by name; the sources are downloaded once, by hash, where nothing has been built from them."""
    told = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_runtime.py", "--source"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    files = Path(told.stdout.strip(), "models", "templates").glob("*.jinja")
    return {file.stem: file.read_text(encoding="utf-8") for file in files}
