"""What an entry of `models.json` means: sizes, adapters, the backend that serves it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from native_host.models.backends import backend_of
from native_host.models.spec import ModelEntry, ModelSpec, adapters_of, bytes_of, max_memory_of
from native_host.protocol.errors import RpcError


def test_the_extra_that_brings_a_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(RpcError) as caught:
        backend_of(ModelSpec("m", ModelEntry(path="m"), "safetensors", Path("/m")))
    assert (caught.value.kind, caught.value.data["install"]) == ("unsupported", "native-host[transformers]")


@pytest.mark.parametrize(
    ("size", "expected"),
    [("8GB", 8 << 30), ("512 MiB", 512 << 20), ("1.5g", 3 << 29), (4096, 4096), ("10b", 10), ("7", 7)],
)
def test_sizes(size: str | int, expected: int) -> None:
    assert bytes_of(size) == expected


@pytest.mark.parametrize("size", ["", "GB", "8 apples", "-1GB", 0, "0MB", "8GBB"])
def test_what_is_no_size_is_refused(size: str | int) -> None:
    with pytest.raises(ValueError):
        bytes_of(size)


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
