"""LoRA adapters through the host: the same ones in GGUF and SafeTensors, chosen by request."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import random_adapters
from safetensors.numpy import load_file, save_file

from native_host.client import Adapter, Host, RpcError

from .f32_model import widened

DERIVE = Path(__file__).parents[2] / "scripts" / "derive_demo_model.py"
FORMATS = ("gguf", "safetensors")
TOKENS = 32
SETS: list[list[Adapter]] = [
    [],
    [{"name": "one"}],
    [{"name": "v2.0"}],
    [{"name": "one", "scale": 0.5}, {"name": "v2.0", "scale": -1.0}],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model and two adapters, each in both formats."""
    folder = tmp_path_factory.mktemp("adapters")
    widened(folder / "model.gguf")
    subprocess.run(
        [sys.executable, DERIVE, "--to", "safetensors", "--type", "f32", folder / "model"], check=True
    )
    for seed, name in enumerate(("one", "two"), 1):
        random_adapters.write_gguf(folder / f"{name}.gguf", seed)
        random_adapters.write_folder(folder / name, seed)
    return folder


def entry(folder: Path, format: str, adapters: dict[str, str]) -> dict[str, Any]:
    """The model in one of the formats, with adapters by name."""
    ending = ".gguf" if format == "gguf" else ""
    exact = {"kv_type": "f32", "flash_attention": False} if format == "gguf" else {}
    files = [{"name": name, "path": str(folder / f"{file}{ending}")} for name, file in adapters.items()]
    path = str(folder / f"model{ending}")
    return {"path": path, "format": format, "threads": 1, "adapters": files, **exact}


@pytest.fixture(scope="module")
def host(folder: Path) -> Iterator[Host]:
    models = {format: entry(folder, format, {"one": "one", "v2.0": "two"}) for format in FORMATS}
    file = folder / "models.json"
    file.write_text(json.dumps({"models": models}))
    with Host.spawn(models=file) as host:
        yield host


def answer(host: Host, model: str, adapters: list[Adapter]) -> list[int]:
    stream = host.chat(
        "What is the KV cache?",
        model=model,
        max_tokens=TOKENS,
        temperature=0.0,
        ignore_eos=True,
        logprobs=0,
        adapters=adapters,
    )
    return [token.token for piece in stream.pieces() for token in piece.logprobs or []]


def test_they_change_the_answers_in_the_same_way_in_both_formats(host: Host) -> None:
    gguf, safetensors = ([answer(host, format, each) for each in SETS] for format in FORMATS)
    assert len({tuple(tokens) for tokens in gguf}) == len(SETS)
    assert gguf == safetensors


@pytest.mark.parametrize("format", FORMATS)
def test_those_in_flight_together_do_not_mix(host: Host, format: str) -> None:
    lone = [answer(host, format, each) for each in SETS]
    with ThreadPoolExecutor(2 * len(SETS)) as pool:
        crowded = list(pool.map(lambda each: answer(host, format, each), SETS * 2))
    assert crowded == lone * 2


@pytest.mark.parametrize("format", FORMATS)
def test_one_that_the_model_has_not(host: Host, format: str) -> None:
    with pytest.raises(RpcError, match=r"no adapter 'poet'; this model has one, v2\.0") as refused:
        answer(host, format, [{"name": "poet"}])
    assert refused.value.kind == "adapter_not_found"
    with pytest.raises(RpcError, match="named twice"):
        answer(host, format, [{"name": "one"}, {"name": "one", "scale": 0.5}])


def too_narrow(adapter: Path) -> None:
    """One matrix of an adapter that peft wrote loses a column."""
    file = adapter / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = tensors[name][:, 1:].copy()
    save_file(tensors, file)


def as_a_pickle(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")


def of_another_kind(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))


def of_another_model(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    save_file({name.replace(".0.", ".9."): each for name, each in load_file(file).items()}, file)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (too_narrow, "does not fit this model"),
        (as_a_pickle, "pickle"),
        (of_another_kind, "'IA3'"),
        (of_another_model, "has no place in this model"),
    ],
)
def test_a_folder_that_does_not_fit(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], problem: str
) -> None:
    spoil(random_adapters.write_folder(tmp_path / "bad", 3))
    refused = load(folder, "safetensors", str(tmp_path / "bad"), tmp_path)
    assert refused.kind == "invalid_model_file"
    assert problem in str(refused)


def test_a_file_that_does_not_fit_is_named(folder: Path, tmp_path: Path) -> None:
    bad = str(folder / "model.gguf")
    refused = load(folder, "gguf", bad, tmp_path)
    assert refused.kind == "invalid_model_file"
    assert refused.data["file"] == bad


def load(folder: Path, format: str, adapter: str, place: Path) -> RpcError:
    """Why the model is not loaded with an adapter."""
    model = entry(folder, format, {}) | {"adapters": [{"name": "bad", "path": adapter}]}
    file = place / "models.json"
    file.write_text(json.dumps({"models": {"m": model}}))
    with Host.spawn(models=file) as host, pytest.raises(RpcError) as refused:
        host.call("models.load", {"model": "m"})
    return refused.value
