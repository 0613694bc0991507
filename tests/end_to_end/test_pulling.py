"""A model is pulled from a server that speaks as the hub does, and then answers, in the same host and the
next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import FakeHub, Repo, fake_hub

from native_host.client import Host, HostDied, Progress, RpcError
from native_host.models.registry import BUILTIN_FILE, BUILTIN_NAME, BUILTIN_NAMES

ROOT = Path(__file__).parents[2]
REPO = "owner/Small-Model-GGUF"
QUESTION = "What is a worker?"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        hub.repos[REPO] = Repo({"README.md": b"text", "small-model-F16.gguf": BUILTIN_FILE.read_bytes()})
        yield hub


@pytest.fixture
def env(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """A home with nothing in it, and the hub."""
    return {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "HF_ENDPOINT": hub.address,
        "HF_HOME": str(tmp_path / "hf"),
        "HF_TOKEN": "",
        "MODEL_CONFIG_PATH": "",
        "MODEL_CACHE_DIR": "",
        "NO_PROXY": "*",
    }


def answer(host: Host, model: str) -> str:
    return host.chat(QUESTION, model=model, max_tokens=20, temperature=0.0).result.message.content


def test_a_pulled_model_answers_at_once_and_after_a_restart(
    hub: FakeHub, env: dict[str, str], tmp_path: Path
) -> None:
    seen: list[Progress] = []
    with Host.spawn(env=env) as host:
        done = host.pull(f"hf:{REPO}", on_progress=seen.append)
        assert (done.model, done.source, done.format) == ("small-model", f"hf:{REPO}:F16", "gguf")
        assert done.size_bytes == done.fetched_bytes == BUILTIN_FILE.stat().st_size
        assert answer(host, "small-model") == answer(host, BUILTIN_NAME)
        assert host.pull(f"hf:{REPO}").fetched_bytes == 0
        assert {model.name for model in host.models()} == {*BUILTIN_NAMES, "small-model"}
    assert {step.stage for step in seen} == {"pull"}
    assert (seen[-1].done_bytes, seen[-1].total_bytes, seen[-1].fraction) == (done.size_bytes,) * 2 + (1.0,)
    models_file = tmp_path / "config" / "native-host" / "models.json"
    assert done.models_file == str(models_file)
    assert json.loads(models_file.read_text())["models"] == {
        "small-model": {"path": done.path, "type": "gguf"}
    }
    with Host.spawn(env=env) as host:
        assert len(answer(host, "small-model")) > 0


def test_the_command_that_an_absent_model_names_brings_it(
    hub: FakeHub, env: dict[str, str], tmp_path: Path
) -> None:
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"models": {"mine": {"path": f"hf:{REPO}:F16", "type": "gguf"}}}))
    with Host.spawn(models=models, env=env) as host:
        assert host.models()[0].state == "absent"
        with pytest.raises(RpcError) as absent:
            host.generate("x", model="mine")
        assert absent.value.kind == "model_absent"
        command = str(absent.value.data["command"])
        assert not hub.requests
    arguments = command.removeprefix("native-host ").split()
    program = [sys.executable, "-m", "native_host", *arguments, "--models", str(models)]
    subprocess.run(program, env={**os.environ, **env}, cwd=tmp_path, check=True, capture_output=True)
    with Host.spawn(models=models, env=env) as host:
        assert host.models()[0].state == "available"
        assert len(answer(host, "mine")) > 0


def test_an_absent_model_is_there_for_the_host_that_pulls_it(env: dict[str, str], tmp_path: Path) -> None:
    models = tmp_path / "models.json"
    models.write_text(json.dumps({"models": {"mine": {"path": f"hf:{REPO}", "type": "gguf"}}}))
    with Host.spawn(models=models, env=env) as host:
        assert host.models()[0].state == "absent"
        assert host.pull(f"hf:{REPO}").model == "mine"
        assert len(answer(host, "mine")) > 0


def test_names_that_are_taken(env: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.symlink_to(BUILTIN_FILE)
    with Host.spawn(env=env) as host:
        assert host.pull(f"file:{other}", name="small-model").fetched_bytes == 0
        assert host.pull(f"hf:{REPO}").model == "small-model-f16"
        with pytest.raises(RpcError, match="another model already") as refused:
            host.pull(f"hf:{REPO}", name="small-model")
        assert refused.value.data["path"] == "name"


def test_what_a_user_wrote_into_models_json_stays(env: dict[str, str], tmp_path: Path) -> None:
    models_file = tmp_path / "config" / "native-host" / "models.json"
    models_file.parent.mkdir(parents=True)
    written = {
        "default": "été",
        "models": {"été": {"path": str(BUILTIN_FILE), "type": "gguf", "sampling": {"temperature": 0.5}}},
    }
    models_file.write_text(json.dumps(written))
    models_file.chmod(0o640)
    with Host.spawn(env=env) as host:
        path = host.pull(f"hf:{REPO}", name="new").path
    expected = {**written["models"], "new": {"path": path, "type": "gguf"}}  # type: ignore[dict-item]  # a literal
    assert json.loads(models_file.read_text()) == {"default": "été", "models": expected}
    assert models_file.stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_no_model_is_refused_and_not_listed(env: dict[str, str], tmp_path: Path) -> None:
    text = tmp_path / "text.gguf"
    text.write_text("this is no model")
    with Host.spawn(env=env) as host:
        with pytest.raises(RpcError) as refused:
            host.pull(f"file:{text}")
        assert refused.value.kind == "invalid_model_file"
        assert [model.name for model in host.models()] == [*BUILTIN_NAMES]


def test_requests_are_answered_while_a_pull_runs_and_its_host_can_end(
    hub: FakeHub, env: dict[str, str]
) -> None:
    hub.held = threading.Event()
    with Host.spawn(env=env) as host:

        def pull() -> None:
            with pytest.raises(HostDied):
                host.pull(f"hf:{REPO}")

        pulling = threading.Thread(target=pull)
        pulling.start()
        assert hub.half_sent.wait(60)
        assert len(answer(host, BUILTIN_NAME)) > 0
    pulling.join()


def test_the_command_line_pulls_with_a_bar(env: dict[str, str], tmp_path: Path) -> None:
    import pexpect

    command = ["-m", "native_host", "models", "pull", f"hf:{REPO}"]
    shown = pexpect.spawn(
        sys.executable,
        command,
        env={**os.environ, **env, "TERM": "xterm-256color"},
        cwd=str(tmp_path),
        encoding="utf-8",
    )
    output = shown.read()
    shown.wait()
    assert shown.exitstatus == 0, output
    assert "fetching small-model-F16.gguf" in output
    assert "small-model" in output
    piped = subprocess.run(
        [sys.executable, *command, "--json"],
        env={**os.environ, **env},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(piped.stdout)["fetched_bytes"] == 0
    assert piped.stderr == "" or "error" not in piped.stderr
