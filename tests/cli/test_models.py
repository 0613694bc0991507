"""`native-host models`, end to end."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Run, daemon


def test_list_shows_the_registry(run: Run, models_json: Path) -> None:
    shown = run("models", "list", "--models", models_json)
    assert shown.returncode == 0, shown.stderr
    assert "tiny" in shown.stdout
    listed = json.loads(run("models", "list", "--json", "--models", models_json).stdout)
    assert [model["name"] for model in listed][:1] == ["tiny"]
    assert listed[0]["state"] == "available"


def test_inspect_takes_a_name_or_a_path(run: Run, models_json: Path, tiny_gguf: Path) -> None:
    by_name = json.loads(run("models", "inspect", "tiny", "--json", "--models", models_json).stdout)
    by_path = json.loads(run("models", "inspect", tiny_gguf, "--json").stdout)
    assert by_name == by_path
    assert by_name["architecture"] == "llama"
    assert by_name["context_length"] == 2048
    assert "llama" in run("models", "inspect", tiny_gguf).stdout


def test_inspect_of_a_file_that_is_no_model_is_one_line(run: Run, tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("this is not a model")
    refused = run("models", "inspect", text)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert str(text) in refused.stderr


def test_load_tries_a_model_where_no_daemon_runs(run: Run, models_json: Path) -> None:
    loaded = run("models", "load", "tiny", "--json", "--models", models_json)
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout)["model"] == "tiny"


def test_a_daemon_keeps_what_is_loaded(run: Run, environment: dict[str, str], models_json: Path) -> None:
    with daemon(environment, models_json) as socket:
        assert run("models", "load", "tiny").returncode == 0
        listed = json.loads(run("models", "list", "--json", "--socket", socket).stdout)
        assert listed[0]["state"] == "loaded"
        assert run("models", "unload", "tiny").stdout == "tiny is unloaded\n"
        listed = json.loads(run("models", "list", "--json", "--socket", socket).stdout)
        assert listed[0]["state"] == "available"


def test_unload_without_a_daemon_says_so(run: Run) -> None:
    refused = run("models", "unload", "tiny")
    assert refused.returncode == 1
    assert "no daemon is running" in refused.stderr


def test_a_socket_and_a_models_file_exclude_each_other(run: Run, models_json: Path) -> None:
    refused = run("models", "list", "--socket", "/x.sock", "--models", models_json)
    assert refused.returncode == 2
