"""`native-host bench`, end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .conftest import Run

SHORT = ["--prompt-tokens", "32", "--generated-tokens", "8"]


@pytest.fixture
def own_models(models_json: Path, tmp_path: Path) -> Path:
    """A registry that a test may change; one thread, because more would fight whatever else runs."""
    shutil.copy(models_json.with_name("tiny.gguf"), tmp_path)
    file = tmp_path / "models.json"
    file.write_text('{"models": {"tiny": {"type": "gguf",  "path": "tiny.gguf", "threads": 1}}}\n')
    return file


def test_figures_of_a_model(run: Run, own_models: Path) -> None:
    shown = run("bench", "tiny", *SHORT, "--models", own_models, "--json")
    assert shown.returncode == 0, shown.stderr
    measured = json.loads(shown.stdout)
    assert measured["model"] == "tiny"
    assert measured["sizes"] == {"prompt": 32, "generated": 8}
    assert measured["speed"]["prefill_tokens_per_s"] > 0
    assert measured["speed"]["decode_tokens_per_s"] > 0
    assert measured["memory"]["worker"] > 0
    assert measured["memory"]["host"] > 0


def test_figures_for_people(run: Run, own_models: Path) -> None:
    shown = run("bench", *SHORT, "--models", own_models)
    assert shown.returncode == 0, shown.stderr
    for label in ("prefill", "decode", "first token", "memory"):
        assert label in shown.stdout


def test_tuning_shows_what_was_tried_and_changes_nothing(run: Run, own_models: Path) -> None:
    before = own_models.read_bytes()
    shown = run("bench", "--tune", "--models", own_models, "--json")
    assert shown.returncode == 0, shown.stderr
    tuned = json.loads(shown.stdout)
    tried = [trial["settings"] for trial in tuned["found"]["trials"]]
    assert tried[0] == {}
    assert {name for settings in tried for name in settings} == {"threads", "flash_attention", "kv_type"}
    assert tuned["found"]["best"] in tuned["found"]["trials"]
    assert tuned["written"] is None
    assert own_models.read_bytes() == before


def test_write_puts_the_best_into_the_entry_and_nothing_else(run: Run, own_models: Path) -> None:
    before = json.loads(own_models.read_text())
    shown = run("bench", "tiny", "--tune", "--write", "--models", own_models, "--json")
    assert shown.returncode == 0, shown.stderr
    best = json.loads(shown.stdout)["found"]["best"]["settings"]
    before["models"]["tiny"].update(best)
    assert json.loads(own_models.read_text()) == before
    assert run("bench", *SHORT, "--models", own_models).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--write"], 2, "--tune"),
        (["tinny"], 1, "did you mean tiny"),
        (["--prompt-tokens", "100000"], 1, "do not fit"),
        (["tabagent-demo", "--tune", "--write"], 1, "no place to write"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Run, own_models: Path, arguments: list[str], code: int, said: str
) -> None:
    refused = run("bench", *arguments, "--models", own_models)
    assert refused.returncode == code
    assert said in refused.stderr
