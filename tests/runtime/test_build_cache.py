"""Where the cache is, and that two builds do not run at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runtime_build import cache

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from runtime_build import cache
with cache.lock("test", wait="waiting"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(cache_root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT / "scripts")],
        env={**os.environ, "TABAGENT_CACHE_DIR": str(cache_root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_second_build_waits_for_the_first(cache_root: Path) -> None:
    with holder(cache_root) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with holder(cache_root) as second:
            assert second.stdout is not None
            assert second.stderr is not None
            assert second.stderr.readline() == "waiting\n"
            first.communicate()
            assert second.stdout.readline() == "held\n"
            second.communicate()
            assert (first.returncode, second.returncode) == (0, 0)


def test_a_killed_build_lets_the_lock_go(cache_root: Path) -> None:
    with holder(cache_root) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        first.kill()
    with holder(cache_root) as second:
        assert second.stdout is not None
        assert second.stdout.readline() == "held\n"
        assert second.communicate()[1] == ""


def test_the_variable_names_the_folder(cache_root: Path) -> None:
    assert cache.directory("runtime") == cache_root / "runtime"
    assert (cache_root / "runtime").is_dir()


def test_without_the_variable_it_is_the_systems(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TABAGENT_CACHE_DIR", raising=False)
    monkeypatch.setattr(cache, "system_cache", lambda: tmp_path)
    assert cache.directory("source") == tmp_path / "tabagent" / "source"
