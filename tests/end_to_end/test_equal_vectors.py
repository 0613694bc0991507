"""A real embedding model gives the vectors of plain transformers in every format, through the host."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from demo_model.questions import expand, read_corpus
from transformers import AutoModel, AutoTokenizer

from native_host.client import Host
from native_host.models.convert.process import convert

pytestmark = pytest.mark.timeout(600)
"""Two conversions come first."""
SENTENCES = 200
Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Questions of the built-in model's corpus, and what a tokenizer may stumble over."""
    corpus, rng = read_corpus(), random.Random(1)
    entries = sorted(corpus.entries.values(), key=lambda entry: entry.name)
    asked = [expand(each, corpus.phrases, rng) for entry in entries for each in entry.phrasings]
    rng.shuffle(asked)
    odd = [
        "Les mots français comptent aussi, et 日本語 also.",
        "12,345.67 € on 2026-11-21",
        " ".join(asked[:30]),
    ]
    return [*asked[: SENTENCES - len(odd)], *odd]


@pytest.fixture(scope="module")
def expected(minilm_folder: Path, sentences: list[str]) -> Floats:
    """The mean of the last states by plain transformers, one sentence at a time, of length 1."""
    tokenizer, model = AutoTokenizer.from_pretrained(minilm_folder), AutoModel.from_pretrained(minilm_folder)
    with torch.inference_mode():
        states = [model.eval()(**tokenizer(text, return_tensors="pt"))[0][0].mean(0) for text in sentences]
    vectors: Floats = torch.nn.functional.normalize(torch.stack(states), dim=1).numpy()
    return vectors


@pytest.fixture(scope="module")
def host(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("vectors")
    convert(minilm_folder, "onnx", None, folder / "onnx", lambda step: None)
    convert(minilm_folder, "gguf", "F32", folder / "minilm.gguf", lambda step: None)
    models = {
        "safetensors": {"path": str(minilm_folder), "format": "safetensors", "threads": 1},
        "onnx": {"path": "onnx", "format": "onnx", "threads": 1},
        "gguf": {"path": "minilm.gguf", "threads": 1},
    }
    file = folder / "models.json"
    file.write_text(json.dumps({"models": models}))
    with Host.spawn(models=file) as host:
        yield host


@pytest.mark.parametrize("model", ["safetensors", "onnx", "gguf"])
def test_vectors_are_those_of_plain_transformers(
    host: Host, model: str, sentences: list[str], expected: Floats
) -> None:
    answer = host.call("embed", {"model": model, "input": sentences})
    assert isinstance(answer, dict)
    found = np.array(answer["embeddings"])
    assert found.shape == (SENTENCES, 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert (found * expected).sum(1).min() >= 0.9999
