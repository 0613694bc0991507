"""The published JSON Schema says of a `models.json` what the registry says of it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from native_host.models.registry import Registry, RegistryError
from native_host.models.schema import models_schema

ROOT = Path(__file__).parents[2]
OTHER_RELEASES_EXAMPLE = Path(__file__).with_name("other_releases.json").read_text()
FULL = {
    "$schema": "docs/models.schema.json",
    "default": "m",
    "models": {
        "m": {
            "path": "m.gguf",
            "type": "gguf",
            "aliases": ["a"],
            "max_memory": {"cpu": "2GB", "cuda:0": 5},
            "gpu_layers": -1,
            "kv_type": "q8_0",
            "flash_attention": True,
            "adapters": [{"name": "poet", "path": "poet.gguf", "scale": 0.5}],
            "keep_alive": "5m",
            "pinned": True,
            "sampling": {"temperature": 0.1},
        }
    },
}


@pytest.mark.parametrize(
    "text",
    [OTHER_RELEASES_EXAMPLE, json.dumps(FULL), (ROOT / "models.json").read_text(), "{}"],
    ids=["other releases'", "full", "this project's", "empty"],
)
def test_what_loads_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    Registry.load(tmp_path / "models.json")
    jsonschema.Draft202012Validator(models_schema()).validate(json.loads(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"modells": {}}',
        '{"models": {"m": {}}}',
        '{"models": {"m": {"path": 5}}}',
        '{"models": {"m": {"path": "x", "thread": 8}}}',
        '{"models": {"m": {"path": "x", "threads": 0}}}',
        '{"models": {"m": {"path": "x", "kv_type": "f8"}}}',
    ],
)
def test_what_is_refused_is_invalid(tmp_path: Path, text: str) -> None:
    (tmp_path / "models.json").write_text(text)
    with pytest.raises(RegistryError):
        Registry.load(tmp_path / "models.json")
    assert not jsonschema.Draft202012Validator(models_schema()).is_valid(json.loads(text))


def test_every_key_is_explained() -> None:
    properties = models_schema()["$defs"]["ModelEntry"]["properties"]
    assert all(each.get("description") for each in properties.values())
