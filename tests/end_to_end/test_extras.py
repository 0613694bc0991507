"""Formats whose packages are not installed: a request says which extra brings them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from native_host.client import Host
from native_host.protocol.errors import RpcError

WITHOUT_EXTRAS = Path(__file__).with_name("without_extras")


@pytest.mark.parametrize("name", ["safetensors", "onnx"])
def test_a_format_without_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    file = tmp_path / "models.json"
    file.write_text(json.dumps({"models": {"it": {"path": "model", "format": name}}}))
    search = os.pathsep.join([str(WITHOUT_EXTRAS), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", search)
    with Host.spawn(models=file) as host:
        with pytest.raises(RpcError) as caught:
            host.generate("hello")
        assert caught.value.kind == "unsupported"
        extra = {"safetensors": "native-host[transformers]", "onnx": "native-host[onnx]"}[name]
        assert caught.value.data["install"] == extra
        assert host.generate("hello", model="tabagent-demo", max_tokens=2).usage.completion_tokens > 0


def test_http_without_its_extra() -> None:
    search = os.pathsep.join([str(WITHOUT_EXTRAS), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "native_host", "serve", "--http", "127.0.0.1:0", "--open-loopback"]
    refused = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True, timeout=60
    )
    assert refused.returncode == 1
    assert "pip install 'native-host[gateway]'" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_base_lock_has_no_extras() -> None:
    lock = (Path(__file__).parents[2] / "requirements" / "base.txt").read_text()
    names = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert not names & {
        "torch",
        "transformers",
        "onnxruntime",
        "onnxruntime-genai",
        "peft",
        "fastapi",
        "uvicorn",
    }
    assert importlib.util.find_spec("torch") is not None  # or the test above would show nothing
