"""all-MiniLM-L6-v2, exported to ONNX and run by our backend, gives the vectors of plain transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from native_host.models.convert.process import convert
from native_host.protocol.errors import RpcError
from native_host.workers.backends import Backend
from native_host.workers.backends.onnx.opening import open_folder
from native_host.workers.messages import EmbedRequest, LoadOptions, RerankRequest

SENTENCES = [
    "A worker is a process that holds one loaded model.",
    "The cat sat on the mat.",
    "Short.",
    "Les mots français comptent aussi, et 日本語 also.",
    "What remains of a long sentence is what a reader takes away from it: " * 4,
    "import numpy as np; np.zeros((3, 4))",
    "12,345.67 € on 2026-11-21",
    "A feline rested on the rug.",
]


@pytest.fixture(scope="module")
def model(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Backend:
    out = tmp_path_factory.mktemp("onnx") / "minilm"
    done = convert(minilm, "onnx", None, out, lambda step: None)
    assert done.details["kind"] == "embed"
    assert done.details["difference"] < 1e-5
    return open_folder(str(out), LoadOptions(threads=1), lambda fraction: None)


def plain(folder: Path) -> npt.NDArray[np.float32]:
    """Mean pooling by the model card's recipe, one sentence at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    source = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        vectors = [source(**tokenizer(text, return_tensors="pt"))[0].mean(1)[0].numpy() for text in SENTENCES]
    return np.stack(vectors)


def test_vectors_are_those_of_transformers(model: Backend, minilm: Path) -> None:
    result = model.embed(EmbedRequest(SENTENCES), lambda: False)
    found, expected = np.array(result.embeddings), plain(minilm)
    cosines = (found * expected).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() >= 0.9999
    assert np.allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)
    assert found[1] @ found[7] > found[1] @ found[5]


def test_it_says_what_it_is(model: Backend) -> None:
    assert model.info.capabilities == ["embed", "tokenize"]
    assert (model.info.embedding_dim, model.info.context_length) == (384, 512)
    assert model.info.details["pooling"] == "mean"
    with pytest.raises(RpcError) as refused:
        model.rerank(RerankRequest("cat", ["dog"]), lambda: False)
    assert refused.value.kind == "unsupported"
    with pytest.raises(RpcError) as refused:
        model.embed(EmbedRequest(["word " * 600]), lambda: False)
    assert refused.value.kind == "input_too_long"
