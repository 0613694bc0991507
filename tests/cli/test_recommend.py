"""`native-host models recommend`, end to end."""

from __future__ import annotations

import json
from pathlib import Path

from .conftest import Run


def test_it_lists_what_is_here_and_what_could_be_pulled(run: Run, models_json: Path) -> None:
    found = json.loads(run("models", "recommend", "--json", "--models", models_json).stdout)
    here = [model["name"] for model in found["models"] if model.get("installed")]
    builtin = ["tabagent-demo", "tabagent-demo-onnx", "tabagent-demo-safetensors"]
    assert sorted(here) == [*builtin, "tiny"]
    assert all(model["weights_bytes"] > 0 for model in found["models"]), "those too that are not derived yet"
    others = [model for model in found["models"] if not model.get("installed")]
    assert all(model["command"].startswith("native-host models pull hf:") for model in others)
    fitting = [model["fits"] for model in found["models"]]
    assert fitting == sorted(fitting, reverse=True)
    available = found["machine"]["available_bytes"]
    assert all(model["fits"] == (model["memory_bytes"] <= available) for model in found["models"])


def test_a_longer_context_takes_more_memory(run: Run, models_json: Path) -> None:
    def memory(length: int) -> int:
        arguments = ("--json", "--models", models_json, "--context-length", length)
        models = json.loads(run("models", "recommend", *arguments).stdout)["models"]
        return int(next(model["memory_bytes"] for model in models if model["name"] == "Qwen3 8B"))

    assert memory(8192) - memory(4096) == 4096 * 2 * 2 * 36 * 8 * 128


def test_people_read_a_table(run: Run, models_json: Path) -> None:
    shown = run("models", "recommend", "--models", models_json)
    assert shown.returncode == 0, shown.stderr
    assert "native-host models pull hf:" in shown.stdout
    assert "GB/s" in shown.stdout
