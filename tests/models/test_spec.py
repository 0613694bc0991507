"""What an entry of `models.json` means: sizes, adapters, the backend that serves it."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest

from native_host.models.backends import backend_of
from native_host.models.formats import Format
from native_host.models.spec import (
    ModelEntry,
    ModelSpec,
    adapters_of,
    file_of,
    keep_alive_of,
    max_memory_of,
)
from native_host.protocol.errors import RpcError


def test_the_extra_that_brings_a_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(RpcError) as caught:
        backend_of(ModelSpec("m", ModelEntry(path="m"), "safetensors", Path("/m")))
    assert (caught.value.kind, caught.value.data["install"]) == ("unsupported", "native-host[transformers]")


def test_max_memory_is_of_all_devices_or_of_each() -> None:
    assert max_memory_of(ModelEntry(path="m")) is None
    assert max_memory_of(ModelEntry(path="m", max_memory="1GB")) == 1 << 30
    assert max_memory_of(ModelEntry(path="m", max_memory={"cpu": "2GB", "cuda:0": 5})) == {
        "cpu": 2 << 30,
        "cuda:0": 5,
    }


def test_adapters_count_from_the_registrys_folder(tmp_path: Path) -> None:
    entry = ModelEntry(path="m", adapters={"poet": "poet.gguf"})
    assert [(each.name, each.path, each.scale) for each in adapters_of(entry, tmp_path)] == [
        ("poet", str(tmp_path / "poet.gguf"), 1.0)
    ]


def test_a_backend_of_another_format_is_refused_with_those_there_are() -> None:
    spec = ModelSpec("m", ModelEntry(path="m.gguf", backend="onnx"), "gguf", Path("/m.gguf"))
    with pytest.raises(RpcError, match=r"'onnx' for gguf models.*'gguf'"):
        backend_of(spec)
    assert backend_of(ModelSpec("m", ModelEntry(path="m.gguf"), "gguf", Path("/m.gguf"))).name == "gguf"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (ModelEntry(path="m"), 300.0),
        (ModelEntry(path="m", keep_alive="5m"), 300.0),
        (ModelEntry(path="m", keep_alive=0), 0.0),
        (ModelEntry(path="m", keep_alive=-1), math.inf),
        (ModelEntry(path="m", keep_alive=0, pinned=True), math.inf),
    ],
)
def test_keep_alive(entry: ModelEntry, expected: float) -> None:
    assert keep_alive_of(entry, 300.0) == expected


@pytest.mark.parametrize(
    ("path", "weights", "repository"),
    [
        ("owner/name", "safetensors", "owner/name"),
        ("owner/name-GGUF", "gguf", "owner/name-GGUF"),
        ("models/name.gguf", "gguf", None),
        ("./owner/name", "safetensors", None),
        ("a/b/c", "onnx", None),
        ("name", "safetensors", None),
        ("here/model", "safetensors", None),
    ],
)
def test_a_path_is_a_hubs_repository_or_a_file(
    tmp_path: Path, path: str, weights: Format, repository: str | None
) -> None:
    (tmp_path / "here" / "model").mkdir(parents=True)
    entry = ModelEntry(path=path)
    spec = ModelSpec("m", entry, weights, file_of(entry, tmp_path, weights))
    assert spec.hub_repository == repository
