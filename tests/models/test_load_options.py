"""Each key of an entry reaches the worker, or is refused by name: none is passed over in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.models import backends, load_options
from native_host.models.formats import Format
from native_host.models.load_options import load_request, options_of, refuse_unusable
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.errors import RpcError
from native_host.workers.messages import AdapterFile, LoadOptions


@pytest.fixture(autouse=True)
def every_backend_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in list(backends.BACKENDS.items()):
        monkeypatch.setitem(backends.BACKENDS, name, backends.BackendKind(name, kind.format))


def model(folder: Path, weights: Format = "gguf", **keys: object) -> ModelSpec:
    file = folder / "m"
    if weights == "gguf":
        file.touch()
    else:
        file.mkdir(exist_ok=True)
    return ModelSpec("m", ModelEntry(path=str(file), **keys), weights, file)  # type: ignore[arg-type]


@pytest.mark.parametrize(("asked", "told"), [(None, None), (1, 1), (3, 3), (4, 4), (5, 4), (10_000, 4)])
def test_no_more_threads_than_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int | None, told: int | None
) -> None:
    monkeypatch.setattr(load_options, "usable_processors", lambda: 4)
    entry = model(tmp_path, threads=asked)
    assert load_request(entry, options_of(entry)).options.threads == told


def test_every_key_for_loading_reaches_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_options, "usable_processors", lambda: 8)
    entry = model(
        tmp_path,
        context_length=512,
        threads=3,
        gpu_layers=-1,
        mlock=True,
        parallel=4,
        kv_cache_tokens=4096,
        kv_type="q8_0",
        flash_attention=False,
        context_shift=True,
        spill_memory="64MB",
        device="cpu",
        max_memory="1GB",
    )
    refuse_unusable(entry)
    request = load_request(entry, options_of(entry))
    assert (request.backend, request.path) == ("gguf", str(tmp_path / "m"))
    assert request.options == LoadOptions(
        context_length=512,
        threads=3,
        gpu_layers=-1,
        mlock=True,
        parallel=4,
        kv_cache_tokens=4096,
        kv_type="q8_0",
        flash_attention="off",
        context_shift=True,
        spill_bytes=64 << 20,
        device="cpu",
        max_memory=1 << 30,
    )


@pytest.mark.parametrize(
    ("weights", "key", "value"),
    [
        ("gguf", "draft_model", "small"),
        ("gguf", "placement", "elsewhere"),
        ("gguf", "quantization", "4bit"),
        ("gguf", "device", "cuda:1"),
        ("safetensors", "draft_model", "small"),
        ("safetensors", "gpu_layers", 3),
        ("safetensors", "mlock", True),
        ("onnx", "kv_type", "q8_0"),
        ("onnx", "flash_attention", "on"),
        ("safetensors", "context_shift", True),
        ("onnx", "spill_memory", "1GB"),
        ("onnx", "quantization", "8bit"),
    ],
)
def test_what_nothing_here_heeds_is_refused_by_name(
    tmp_path: Path, weights: Format, key: str, value: object
) -> None:
    with pytest.raises(RpcError, match=key) as caught:
        refuse_unusable(model(tmp_path, weights, **{key: value}))
    assert caught.value.kind == "unsupported"


def test_options_of_one_load_are_looked_at_too(tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="kv_type for safetensors"):
        refuse_unusable(model(tmp_path, "safetensors"), LoadOptions(kv_type="q8_0"))


def test_adapters_that_a_format_has_not_are_refused_before_a_worker_is_started(tmp_path: Path) -> None:
    with pytest.raises(RpcError, match="adapters for onnx models"):
        refuse_unusable(model(tmp_path, "onnx"), LoadOptions(adapters=[AdapterFile("poet", "poet")]))


@pytest.mark.parametrize(
    ("path", "weights", "command"),
    [
        ("owner/name", "safetensors", "native-host models pull hf:owner/name --name 'my model'"),
        ("owner/name-GGUF", "gguf", "native-host models pull hf:owner/name-GGUF --name 'my model'"),
    ],
)
def test_an_absent_model_of_a_hub_says_how_to_pull_it(path: str, weights: Format, command: str) -> None:
    with pytest.raises(RpcError) as caught:
        refuse_unusable(ModelSpec("my model", ModelEntry(path=path), weights, None))
    assert (caught.value.kind, caught.value.data["command"]) == ("model_absent", command)


def test_an_absent_file_says_where_it_belongs() -> None:
    with pytest.raises(RpcError, match=r"put the file at /none\.gguf") as caught:
        refuse_unusable(ModelSpec("m", ModelEntry(path="/none.gguf"), "gguf", Path("/none.gguf")))
    assert caught.value.kind == "model_absent"
