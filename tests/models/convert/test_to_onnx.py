"""SafeTensors to ONNX, by the process that users get."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from native_host.models.convert.process import convert
from native_host.models.convert.request import Done, Step
from native_host.workers.backends.onnx.opening import open_folder
from native_host.workers.messages import LoadOptions, RerankRequest


def plain_scores(folder: Path, query: str, documents: list[str]) -> list[float]:
    """By transformers, one document at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        given = [tokenizer(query, each, return_tensors="pt") for each in documents]
        return [float(model(**each).logits[0, 0]) for each in given]


def converted(source: Path, out: Path, quantize: str | None = None) -> Done:
    steps: list[Step] = []
    done = convert(source, "onnx", quantize, out, steps.append)
    assert [step.fraction for step in steps] == sorted(step.fraction for step in steps)
    assert list(out.parent.iterdir()) == [out], "nothing else is left behind"
    return done


def operators(folder: Path) -> set[str]:
    return {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}


@pytest.mark.parametrize(("quantize", "largest_mb", "difference"), [("F16", 8, 1e-3), ("INT4", 6, 1.0)])
def test_a_llama_gets_a_graph_with_a_shared_cache(
    demo: Path, tmp_path: Path, quantize: str, largest_mb: int, difference: float
) -> None:
    done = converted(demo, tmp_path / "demo", quantize)
    assert done.details["kind"] == "generate"
    assert done.details["difference"] < difference
    assert "GroupQueryAttention" in operators(tmp_path / "demo")
    assert ("MatMulNBits" in operators(tmp_path / "demo")) == quantize.startswith("INT")
    assert (tmp_path / "demo" / "model.onnx").stat().st_size < largest_mb * 1e6
    files = {path.name for path in (tmp_path / "demo").iterdir()}
    assert {"config.json", "tokenizer.json", "tokenizer_config.json", "genai_config.json"} < files


def test_any_other_causal_model_is_exported_with_its_cache(qwen: Path, tmp_path: Path) -> None:
    done = converted(qwen, tmp_path / "qwen")
    assert done.details["shared_cache"] is False
    assert done.details["difference"] < 1e-5
    graph = onnx.load(tmp_path / "qwen" / "model.onnx").graph
    inputs = [each.name for each in graph.input]
    assert inputs[:4] == ["input_ids", "attention_mask", "position_ids", "past_key_values.0.key"]
    sizes = [size.dim_param or size.dim_value for size in graph.input[3].type.tensor_type.shape.dim]
    assert sizes == ["batch", 2, "past", 16]


def test_a_cross_encoder(reranker: Path, tmp_path: Path) -> None:
    done = converted(reranker, tmp_path / "reranker")
    assert done.details["kind"] == "rerank"
    assert done.details["difference"] < 1e-5
    model = open_folder(str(tmp_path / "reranker"), LoadOptions(threads=1), lambda fraction: None)
    documents = ["a dog", "a cat that sat on the mat for a very long time", "a bird"]
    scores = model.rerank(RerankRequest("which animal?", documents), lambda: False).scores
    assert np.allclose(scores, plain_scores(reranker, "which animal?", documents), atol=1e-5)
