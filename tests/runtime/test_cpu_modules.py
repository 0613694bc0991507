"""Which CPU modules there are and which suits this machine: the hardware crate's answer, remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from runtime_build import modules
from runtime_build.failure import BuildFailure

ROOT = Path(__file__).resolve().parents[2]


def test_the_hardware_crate_is_asked_once(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = modules.find(ROOT)
    assert known.features[known.every[0]] == [], "the plain module needs nothing"
    assert known.best in known.every
    assert set(known.native) == {known.every[0], known.best}
    monkeypatch.setattr(modules, "ask_hardware", no_answer)
    assert modules.find(ROOT) == known


def test_another_processor_is_asked_about_anew(cache_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules.find(ROOT)
    monkeypatch.setattr(modules, "ask_hardware", no_answer)
    monkeypatch.setattr(modules, "processor", lambda: "another one")
    with pytest.raises(BuildFailure, match="nobody answers"):
        modules.find(ROOT)


def test_without_cargo_it_says_so(cache_root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BuildFailure, match="install Rust with rustup"):
        modules.find(ROOT)


def no_answer(root: Path, question: str) -> str:
    raise BuildFailure(f"nobody answers {question} about {root}")
