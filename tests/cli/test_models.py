"""`native-host models`, end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from native_host.client import Host
from native_host.protocol.errors import RpcError

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
        assert listed[0]["memory_bytes"] > listed[0]["size_bytes"]
        assert 0 < listed[0]["unload_in_s"] <= 300
        shown = run("models", "list", "--socket", socket).stdout
        assert re.search(r"tiny +loaded +gguf +[\d.]+ KiB +[\d.]+ MiB +(4 m \d+ s|5 m) ", shown), shown
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


def test_a_daemon_loads_pinned_models_and_keeps_to_its_budget(
    run: Run, environment: dict[str, str], tiny_gguf: Path, tmp_path: Path
) -> None:
    entry = {"type": "gguf", "path": str(tiny_gguf), "pinned": True}
    models = tmp_path / "pinned.json"
    models.write_text(json.dumps({"models": {"tiny": entry, "other": {**entry, "pinned": False}}}))
    with daemon(environment, models, "--memory-budget", "1GB") as socket:
        with Host.connect(socket) as host:
            while host.models()[0].state != "loaded":  # nobody has asked for it
                pass
        assert "pinned" in run("models", "list", "--socket", socket).stdout
    with daemon(environment, models, "--memory-budget", "1MB") as socket:
        refused = run("models", "load", "other", "--socket", socket)
        assert refused.returncode == 1
        assert "at most 1 MiB can be made available" in refused.stderr
    refused = run("serve", "--memory-budget", "lots")
    assert refused.returncode == 2
    assert "is no size" in refused.stderr


def test_an_edit_is_picked_up_by_a_running_daemon_and_a_broken_one_is_told(
    run: Run, environment: dict[str, str], tiny_gguf: Path, tmp_path: Path
) -> None:
    models = tmp_path / "edited.json"
    models.write_text(json.dumps({"models": {"before": {"path": str(tiny_gguf)}}}))
    with daemon(environment, models) as socket, Host.connect(socket) as host:
        assert host.models()[0].name == "before"
        models.write_text(json.dumps({"models": {"after": {"path": str(tiny_gguf)}}}))
        assert host.models()[0].name == "after"
        assert host.health().status == "ok"
        models.write_text('{"models": {"after": {\n"paht": "x"}}}')
        health = host.health()
        assert health.status == "degraded"
        assert f"{models}:2: models.after.paht: unknown key; did you mean 'path'?" in health.problems[0]
        assert host.generate("hello", model="after", max_tokens=1).text is not None


def test_a_host_that_starts_with_a_broken_file_recovers_when_it_is_mended(
    environment: dict[str, str], tiny_gguf: Path, tmp_path: Path
) -> None:
    models = tmp_path / "broken.json"
    models.write_text("{")
    with daemon(environment, models) as socket, Host.connect(socket) as host:
        with pytest.raises(RpcError):
            host.models()
        assert str(models) in host.health().problems[0]
        models.write_text(json.dumps({"models": {"m": {"path": str(tiny_gguf)}}}))
        assert host.health().status == "ok"
        assert host.models()[0].name == "m"


def test_the_schema_is_printed(run: Run) -> None:
    schema = json.loads(run("models", "schema").stdout)
    assert "keep_alive" in schema["$defs"]["ModelEntry"]["properties"]


def test_estimate_foresees_what_a_model_takes(run: Run, models_json: Path) -> None:
    def asked(*more: str) -> dict[str, int]:
        shown = run("models", "estimate", "tiny", "--json", "--models", models_json, *more)
        assert shown.returncode == 0, shown.stderr
        found: dict[str, int] = json.loads(shown.stdout)
        return found

    found = asked()
    assert found["total_bytes"] > found["weights_bytes"] + found["kv_bytes"] + found["compute_bytes"]
    assert found["fits"] is True
    assert asked("--context-length", "1024")["kv_bytes"] < found["kv_bytes"]
    assert "weights" in run("models", "estimate", "tiny", "--models", models_json).stdout
