"""Without any configuration the built-in model answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.client import Host
from native_host.models.registry import BUILTIN_FILE, BUILTIN_NAME, BUILTIN_NAMES, Registry


def test_it_answers_a_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MODEL_CONFIG_PATH", "DEFAULT_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    with Host.spawn(env={"XDG_CONFIG_HOME": str(tmp_path), "MODEL_CONFIG_PATH": ""}) as host:
        assert [model.name for model in host.models()] == [*BUILTIN_NAMES]
        stream = host.chat("What is a worker?", max_tokens=60, temperature=0.0)
        text = "".join(stream)
    assert stream.result.message.content == text
    assert stream.result.model == BUILTIN_NAME
    assert stream.result.finish_reason == "stop"
    assert len(text.split()) > 3


def test_the_repository_s_models_json_means_the_same_file() -> None:
    spec = Registry.load(Path(__file__).parents[2] / "models.json").resolve(None)
    assert spec.name == BUILTIN_NAME
    assert spec.file is not None
    assert spec.file.samefile(BUILTIN_FILE)
