"""Answers to 200 schemas are of them in every format; what is not supported is refused by name.

With `THOROUGH_FORMS=1` every schema is asked for with three prompts in all formats, and the answers are
counted on stdout (`pytest -s`). That takes some minutes; else most are asked for in GGUF alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.schemas import Schema, flaw, load

from native_host.client import Host, RpcError
from native_host.models.registry import BUILTIN_FILE

ROOT = Path(__file__).parents[2]
SCHEMAS = load()
THOROUGH = os.environ.get("THOROUGH_FORMS") == "1"
EVERY_TENTH = dict(list(SCHEMAS["answered"].items())[:: 1 if THOROUGH else 10])
PROMPTS = ["Describe it:", "What is the answer?", "{"] if THOROUGH else ["Describe it:"]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with the built-in model in every format."""
    folder = tmp_path_factory.mktemp("forms")
    script = ROOT / "scripts" / "derive_demo_model.py"
    models: dict[str, dict[str, object]] = {"gguf": {"path": str(BUILTIN_FILE), "threads": 1}}
    for name in ("safetensors", "onnx"):
        subprocess.run([sys.executable, script, "--to", name, folder / name], check=True)
        models[name] = {"path": name, "format": name, "threads": 1}
    (folder / "models.json").write_text(json.dumps({"models": models}))
    with Host.spawn(models=folder / "models.json") as host:
        yield host


@pytest.mark.parametrize(
    ("model", "schemas"),
    [("gguf", SCHEMAS["answered"]), ("safetensors", EVERY_TENTH), ("onnx", EVERY_TENTH)],
    ids=["gguf", "safetensors", "onnx"],
)
@pytest.mark.parametrize("prompt", PROMPTS)
def test_every_finished_answer_is_of_its_schema(
    host: Host, model: str, schemas: dict[str, Schema], prompt: str
) -> None:
    def ask(name: str) -> tuple[str, str | None]:
        said = host.generate(
            prompt,
            model=model,
            response_format={"type": "json_schema", "json_schema": schemas[name]},
            temperature=1.5,
            seed=1,
            max_tokens=160,
        )
        return said.finish_reason, flaw(schemas[name], said.text)

    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(schemas, pool.map(ask, schemas), strict=True))
    finished = {name: problem for name, (reason, problem) in answers.items() if reason == "stop"}
    flawed = {name: problem for name, problem in finished.items() if problem}
    sys.stdout.write(f"\n{model}, {prompt!r}: of {len(schemas)} answers {len(finished)} finished\n")
    assert flawed == {}
    assert len(finished) >= len(schemas) // 2


@pytest.mark.parametrize("name", SCHEMAS["refused"])
def test_what_is_not_supported_is_refused_by_its_keyword(host: Host, name: str) -> None:
    refused = SCHEMAS["refused"][name]
    form = {"type": "json_schema", "json_schema": refused["schema"]}
    with pytest.raises(RpcError) as caught:
        host.call("generate", {"model": "gguf", "prompt": "x", "response_format": form})
    assert (caught.value.kind, caught.value.data["path"]) == ("invalid_params", "response_format")
    assert refused["keyword"] in caught.value.data["problem"]


def test_there_are_200() -> None:
    assert len(SCHEMAS["answered"]) >= 200
