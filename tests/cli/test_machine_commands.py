"""`hardware`, `doctor`, `config` and the demo, end to end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from native_host.cli import machine
from native_host.protocol.messages import HardwareInfoResult

from .conftest import Run, daemon


def test_hardware_names_the_variant_and_the_runtime(run: Run) -> None:
    shown = run("hardware")
    assert shown.returncode == 0, shown.stderr
    info = json.loads(run("hardware", "--json").stdout)
    assert info["cpu_variant"] in shown.stdout
    assert info["runtime"]["path"] in shown.stdout


def test_doctor_finds_nothing_wrong(run: Run) -> None:
    shown = run("doctor")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "✗" not in shown.stdout
    findings = {each["check"]: each for each in json.loads(run("doctor", "--json").stdout)}
    assert findings["first token"]["state"] == "ok"
    assert findings["daemon"]["state"] == "note"
    assert findings["GPU backends"]["state"] == "ok"


def test_the_gpu_backends_of_a_pack_are_told(tmp_path: Path) -> None:
    library = tmp_path / "libllama.so"
    manifest = {"source": "llama-cpp-python 0.3.36", "build_id": "0123456789abcdef", "compiler": "gcc 12.2.0"}

    def told(gpus: list[dict[str, object]], *modules: dict[str, str]) -> str:
        document = json.dumps({**manifest, "gpu_modules": modules} if modules else manifest)
        library.with_name("manifest.json").write_text(document, encoding="utf-8")
        info = HardwareInfoResult(
            cpu={}, cpu_variant="", gpus=gpus, memory={}, runtime={"path": str(library)}
        )
        return dict(machine.runtime_lines(info))["GPU backends"]

    cuda = {"name": "cuda", "toolkit": "CUDA 13.5.37", "architectures": "90"}
    gpu: dict[str, object] = {"name": "one", "backend": "cuda"}
    assert told([gpu]) == "none: scripts/build_runtime.py --native --cuda builds a pack with one"
    assert told([gpu], cuda) == "cuda (CUDA 13.5.37, for 90)"
    assert told([], cuda) == "cuda (CUDA 13.5.37, for 90; no such GPU with its driver here)"


def test_doctor_says_how_to_get_a_model_that_is_not_here(run: Run, tmp_path: Path) -> None:
    models = {"models": {"qwen": {"type": "gguf", "path": "qwen.gguf"}}, "default": "qwen"}
    (tmp_path / "absent.json").write_text(json.dumps(models))
    found = {
        each["check"]: each
        for each in json.loads(run("doctor", "--json", "--models", tmp_path / "absent.json").stdout)
    }["first token"]
    assert found["state"] == "failed"
    assert "put the file there" in found["way_out"]


def test_doctor_sees_a_daemon(run: Run, environment: dict[str, str], models_json: Path) -> None:
    with daemon(environment, models_json):
        findings = {each["check"]: each for each in json.loads(run("doctor", "--json").stdout)}
    assert findings["daemon"]["state"] == "ok"


def test_doctor_says_the_way_out(run: Run, environment: dict[str, str]) -> None:
    (Path(environment["XDG_RUNTIME_DIR"])).chmod(0o755)
    shown = run("doctor")
    assert shown.returncode == 1
    assert f"→ chmod 700 {environment['XDG_RUNTIME_DIR']}" in shown.stdout


def test_doctor_says_what_stands_in_a_daemons_place(run: Run, environment: dict[str, str]) -> None:
    place = Path(environment["XDG_RUNTIME_DIR"]) / "native-host.sock"
    place.write_text("a file")
    found = {each["check"]: each for each in json.loads(run("doctor", "--json").stdout)}["daemon"]
    assert (found["state"], f"rm {place}" in found["way_out"]) == ("failed", True)
    place.unlink()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(place))
        foreign.listen()  # and says nothing
        found = {each["check"]: each for each in json.loads(run("doctor", "--json").stdout)}["daemon"]
        assert found["state"] == "failed"
        assert "end the program that listens there" in found["way_out"]
    found = {each["check"]: each for each in json.loads(run("doctor", "--json").stdout)}["daemon"]
    assert found["state"] == "failed"  # a socket that is left over
    assert "puts a new one in its place" in found["way_out"]


def test_config_says_where_a_setting_comes_from(
    run: Run, environment: dict[str, str], models_json: Path
) -> None:
    environment["LOG_LEVEL"] = "debug"
    settings = {
        each["name"]: each for each in json.loads(run("config", "--json", "--models", models_json).stdout)
    }
    assert (settings["log_level"]["value"], settings["log_level"]["source"]) == ("debug", "LOG_LEVEL")
    assert settings["log_format"]["source"] == "default"
    assert settings["models.json"] == {"name": "models.json", "value": str(models_json), "source": "--models"}
    assert settings["model used by default"]["value"] == "tiny"


def test_config_refuses_a_setting_that_cannot_be_used(run: Run, environment: dict[str, str]) -> None:
    environment["LOG_LEVEL"] = "loud"
    refused = run("config")
    assert refused.returncode == 2
    assert "LOG_LEVEL" in refused.stderr


def test_the_demo_shows_variant_runtime_answer_and_speed(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "native_host.cli.demo", "What is a frame?"]
    shown = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    assert "\x1b" not in shown.stdout
    for expected in (
        "CPU variant",
        "bitnet-",
        "libllama",
        "What is a frame?",
        "tokens/s",
        "first token after",
    ):
        assert expected in shown.stdout
