"""Which folders are opened, where, and in which numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from native_host.models.memory import by_shape, weights_by_size
from native_host.models.registry import BUILTIN_FILE
from native_host.models.spec import ModelEntry, ModelSpec
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


@pytest.mark.parametrize(("bits", "part"), [("8bit", 0.6), ("4bit", 0.4)])
def test_fewer_bits_save_memory(folder: Path, bits: str, part: float) -> None:
    full = opened(folder, LoadOptions(device="cpu")).details["weights_bytes"]
    details = opened(folder, LoadOptions(device="cpu", quantization=bits)).details
    assert details["quantization"] == bits
    assert details["unquantized_bytes"] == pytest.approx(full, rel=0.01)
    assert details["weights_bytes"] < part * full
    spec = ModelSpec("m", ModelEntry(path=str(folder)), "safetensors", folder)
    foreseen = weights_by_size(spec, LoadOptions(quantization=bits))
    assert foreseen == pytest.approx(details["weights_bytes"], rel=0.05)


@pytest.mark.parametrize("quantization", [None, "f32", "bf16"])
def test_memory_is_foreseen_from_the_configuration(folder: Path, quantization: str | None) -> None:
    spec = ModelSpec("m", ModelEntry(path=str(folder)), "safetensors", folder)
    options = LoadOptions(device="cpu", quantization=quantization, context_length=512)
    details = opened(folder, options).details
    assert weights_by_size(spec, options) == pytest.approx(details["weights_bytes"], rel=0.01)
    kv, compute = by_shape(spec, options)
    layers, kv_heads, head = 4, 2, 64
    assert kv == 2 * layers * kv_heads * head * 512 * (2 if quantization == "bf16" else 4)
    assert compute > 0


def test_four_bits_answer_nearly_as_all_do(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    from native_host.workers.backends.transformers.loading import load_model
    from native_host.workers.backends.transformers.placing import Placement

    def logits(bits: str | None) -> torch.Tensor:
        placement = Placement(torch.device("cpu"), "", torch.float32, bits)
        model = load_model(AutoModelForCausalLM, folder, placement, LoadOptions(), lambda _: None)
        with torch.inference_mode():
            found: torch.Tensor = model(torch.arange(5, 25)[None]).logits[0]
        return found

    near = torch.nn.functional.cosine_similarity(logits(None), logits("4bit")).mean()
    assert near > 0.9
