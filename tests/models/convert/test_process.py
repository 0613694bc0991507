"""What a conversion refuses, and that nothing of one that was ended stays behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from native_host.models.convert.process import convert
from native_host.models.convert.request import MODULES, Step, Target
from native_host.models.registry import BUILTIN_FILE, Registry
from native_host.protocol.errors import RpcError


def refusal(source: Path, out: Path, to: Target = "onnx", quantize: str | None = None) -> RpcError:
    with pytest.raises(RpcError) as refused:
        convert(source, to, quantize, out, lambda step: None)
    return refused.value


def folder_with(path: Path, config: dict[str, object], weights: str = "model.safetensors") -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    (path / weights).touch()
    return path


def test_a_place_that_is_taken(demo: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    error = refusal(demo, tmp_path / "there")
    assert (error.kind, error.data["path"]) == ("invalid_params", "out")
    assert refusal(demo, tmp_path / "no" / "folder").data["path"] == "out"
    assert "must end in .gguf" in refusal(demo, tmp_path / "model", "gguf").message


def test_a_quantization_of_the_other_format(demo: Path, tmp_path: Path) -> None:
    error = refusal(demo, tmp_path / "model", "onnx", "Q4_K_M")
    assert (error.kind, error.data["path"]) == ("invalid_params", "quantize")
    assert "INT4" in error.message


def test_what_is_missing_is_named(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODULES, "onnx", ("torch", "no_such_module"))
    error = refusal(demo, tmp_path / "model")
    assert error.kind == "unsupported"
    assert error.data["install"] == "native-host[convert]"
    assert "no_such_module" in error.message


def test_sources_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(tmp_path / "empty", tmp_path / "out").message
    assert refusal(tmp_path / "none", tmp_path / "out").kind == "invalid_model_file"
    assert refusal(BUILTIN_FILE, tmp_path / "out").kind == "invalid_model_file"


@pytest.mark.parametrize(
    ("config", "weights", "words"),
    [
        ({"auto_map": {"AutoModel": "own.Model"}}, "model.safetensors", "code of their own"),
        ({"architectures": ["LlamaForCausalLM"]}, "pytorch_model.bin", "pickles"),
        ({"architectures": ["T5Model"], "is_encoder_decoder": True}, "model.safetensors", "an encoder and"),
        ({"architectures": ["ResNetForImageClassification"]}, "model.safetensors", "ResNetFor"),
    ],
)
def test_models_that_are_not_converted(
    tmp_path: Path, config: dict[str, object], weights: str, words: str
) -> None:
    error = refusal(folder_with(tmp_path / "source", config, weights), tmp_path / "out")
    assert error.kind == "unsupported"
    assert words in error.message


def test_an_interrupted_conversion_leaves_nothing(demo: Path, tmp_path: Path) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(demo, "onnx", None, tmp_path / "out", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_parent_takes_its_child_along(demo: Path, tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path\n"
        "from native_host.models.convert.process import convert\n"
        "source, out = map(Path, sys.argv[1:])\n"
        "convert(source, 'onnx', None, out, lambda step: os.kill(os.getpid(), 9))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(demo), str(tmp_path / "out")], check=False)
    assert ended.returncode == -signal.SIGKILL
    wait_until_empty(tmp_path)


def wait_until_empty(folder: Path) -> None:
    """The child removes its folder as the last thing that it does; pytest's time limit ends a vain wait."""
    while os.listdir(folder):  # noqa: PTH208
        os.sched_yield()


def test_the_command(demo: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "native_host", "models", "convert", str(BUILTIN_FILE), "--to", "gguf"]
    command += ["--quantize", "q4_0", "--out", str(tmp_path / "small.gguf"), "--json"]
    environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")}

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *more], check=False, capture_output=True, text=True, env=environ)

    result = json.loads(run("--name", "small").stdout)
    assert result["path"] == str(tmp_path / "small.gguf")
    assert result["quantization"] == "Q4_0"
    (written,) = (tmp_path / "config").rglob("models.json")
    assert Registry.load(written).resolve("small").file == tmp_path / "small.gguf"
    again = run()
    assert again.returncode == 1
    assert "exists already" in again.stderr
    taken = run("--name", "small")
    assert taken.returncode == 1
    assert "'small' is a model already" in taken.stderr
