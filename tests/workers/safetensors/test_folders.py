"""Which folders are opened, where, and in which numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from native_host.models.registry import BUILTIN_FILE
from native_host.protocol.errors import RpcError
from native_host.workers.backends.transformers.opening import open_folder
from native_host.workers.derived.safetensors import Source, derive_safetensors
from native_host.workers.messages import LoadOptions, ModelInfo


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The built-in model."""
    derive_safetensors(Source(BUILTIN_FILE), tmp_path)
    return tmp_path


def refusal(folder: Path, options: LoadOptions | None = None) -> RpcError:
    with pytest.raises(RpcError) as caught:
        open_folder(str(folder), options or LoadOptions(), lambda _: None)
    return caught.value


def opened(folder: Path, options: LoadOptions) -> ModelInfo:
    backend = open_folder(str(folder), options, lambda _: None)
    info = backend.info
    backend.close()
    return info


def test_a_pickle_is_not_opened(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    error = refusal(folder)
    assert error.kind == "invalid_model_file"
    assert "pytorch_model.bin" in error.data["problem"]
    assert "SafeTensors" in error.data["problem"]


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_model_that_brings_code_is_not_opened(folder: Path, name: str) -> None:
    document = json.loads((folder / name).read_text())
    code = {"AutoModelForCausalLM": "modeling.Model", "AutoTokenizer": ["tokenizing.Tokenizer", None]}
    (folder / name).write_text(json.dumps({**document, "auto_map": code}))
    (folder / "modeling.py").write_text("raise SystemExit('this code was run')")
    error = refusal(folder)
    assert error.kind == "invalid_model_file"
    assert "auto_map" in error.data["problem"]


def test_broken_files_are_named(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    assert "tokenizer.json" in refusal(folder).data["file"]
    (folder / "config.json").write_text("[]")
    assert "config.json" in refusal(folder).data["file"]
    (folder / "config.json").unlink()
    assert "config.json" in refusal(folder).data["problem"]


def test_cut_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert refusal(folder).kind == "invalid_model_file"


def test_where_and_why(folder: Path) -> None:
    info = opened(folder, LoadOptions())
    assert info.device in ("cpu", "cuda", "mps")
    assert info.device_reason
    assert opened(folder, LoadOptions(device="cpu")).device == "cpu"
    assert refusal(folder, LoadOptions(device="abacus")).kind == "invalid_params"
    assert refusal(folder, LoadOptions(device="cuda:99")).kind == "unsupported"


def test_numbers_and_what_they_take(folder: Path) -> None:
    full = opened(folder, LoadOptions(device="cpu")).details
    assert full["dtype"] == "f32"
    half = opened(folder, LoadOptions(device="cpu", quantization="bf16")).details
    assert half["weights_bytes"] < 0.55 * full["weights_bytes"]
    assert refusal(folder, LoadOptions(quantization="3bit")).kind == "invalid_params"
    assert refusal(folder, LoadOptions(device="cpu", quantization="4bit")).kind == "unsupported"


def test_8_bits_save_memory(folder: Path) -> None:
    details = opened(folder, LoadOptions(device="cpu", quantization="8bit")).details
    assert details["quantization"] == "8bit"
    assert details["weights_bytes"] < 0.6 * details["unquantized_bytes"]
