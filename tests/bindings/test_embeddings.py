"""Vectors and scores, compared with transformers on the same weights."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tabagent_model

TEXTS = [
    "A host keeps models in memory and answers programs that ask.",
    "Der Hund schläft unter dem Tisch.",
    "How do I load a model?",
    "a",
    "The quick brown fox jumps over the lazy dog. " * 12,
    "Wie lade ich ein Modell?",
    "SELECT name FROM models WHERE size < 8;",
    "naïve café — “quotes”, numbers 3.14159 and symbols #@!",
]
QUERY = "how are models loaded"


@pytest.fixture(scope="module")
def encoder(minilm: Path) -> Iterator[tabagent_model.Engine]:
    with tabagent_model.Engine(minilm, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def scorer(reranker: Path) -> Iterator[tabagent_model.Engine]:
    with tabagent_model.Engine(reranker, threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def generator(tiny_model: Path) -> Iterator[tabagent_model.Engine]:
    with tabagent_model.Engine(tiny_model, threads=1, context_length=1024, parallel=2) as engine:
        yield engine


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (length(a) * length(b))


def length(vector: list[float]) -> float:
    return math.sqrt(sum(x * x for x in vector))


def test_vectors_are_those_of_transformers(encoder: tabagent_model.Engine, minilm_folder: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder)
    network = AutoModel.from_pretrained(minilm_folder)
    made = encoder.embed(TEXTS)
    tokens = 0
    for text, vector in zip(TEXTS, made["vectors"], strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        tokens += inputs.input_ids.shape[1]
        with torch.no_grad():
            expected = network(**inputs).last_hidden_state[0].mean(0)
        assert cosine(vector, expected.tolist()) > 0.9999, text
    assert made["tokens"] == tokens


def test_scores_are_those_of_transformers(scorer: tabagent_model.Engine, reranker_folder: Path) -> None:
    import torch
    from transformers import BertForSequenceClassification, BertTokenizer

    tokenizer = BertTokenizer(str(reranker_folder / "vocab.txt"))
    network = BertForSequenceClassification.from_pretrained(reranker_folder)
    documents = [text for text in TEXTS if len(text) < 200]
    made = scorer.score(QUERY, documents)
    expected, tokens = [], 0
    for document in documents:
        inputs = tokenizer(QUERY, document, return_tensors="pt")
        # llama.cpp has one kind of segment for all tokens.
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        tokens += inputs["input_ids"].shape[1]
        with torch.no_grad():
            expected.append(float(network(**inputs).logits[0, 0]))
    assert made["tokens"] == tokens
    assert made["scores"] == pytest.approx(expected, abs=2e-3)
    spread = max(expected) - min(expected)
    assert spread > 0.05, "scores that hardly differ would prove nothing"


def test_a_text_has_the_same_vector_in_any_company(encoder: tabagent_model.Engine) -> None:
    together = encoder.embed(TEXTS)["vectors"]
    for text, vector in zip(TEXTS, together, strict=True):
        alone = encoder.embed([text])["vectors"][0]
        assert cosine(alone, vector) > 0.99999, text


def test_vectors_have_length_one_only_if_asked(encoder: tabagent_model.Engine) -> None:
    normal, plain = (encoder.embed(TEXTS[:1], normalize=each)["vectors"][0] for each in (True, False))
    assert length(normal) == pytest.approx(1.0, abs=1e-5)
    assert abs(length(plain) - 1.0) > 0.01
    assert cosine(normal, plain) > 0.99999


def test_a_generating_model_embeds_by_the_mean(generator: tabagent_model.Engine) -> None:
    info = generator.info()
    assert (info["kind"], info["pooling"]) == ("generative", "mean")
    first, other, again = generator.embed(["one two", "three four five", "one two"])["vectors"]
    assert len(first) == info["embedding_dim"]
    assert cosine(first, again) > 0.99999
    assert cosine(first, other) < 0.99


def test_a_long_text_is_read_in_parts_by_a_generating_model(tiny_model: Path) -> None:
    """Its vector agrees with the one that a larger context, shared with other texts, gives."""
    text = "abcdefgh ijkl mnop " * 60
    with tabagent_model.Engine(tiny_model, threads=1) as engine:
        tokens = len(engine.tokenize(text))
        assert tokens > 256
        alone = engine.embed([text])["vectors"][0]
        beside = engine.embed(["short", text * 2, text])["vectors"][2]
    assert cosine(alone, beside) > 0.99999


def test_a_text_beyond_the_models_context_is_refused(encoder: tabagent_model.Engine) -> None:
    with pytest.raises(tabagent_model.ContextOverflowError, match="text 1") as caught:
        encoder.embed(["short", "word " * 600])
    assert (caught.value.tokens, caught.value.limit) == (602, 512)
    longest = encoder.embed(["word " * 510])
    assert longest["tokens"] == 512


def test_an_encoder_cannot_generate(encoder: tabagent_model.Engine, scorer: tabagent_model.Engine) -> None:
    for engine in (encoder, scorer):
        with pytest.raises(tabagent_model.UnsupportedError, match="text generation"):
            engine.submit("Once upon a time")
        with pytest.raises(tabagent_model.UnsupportedError):
            engine.fileno()
    assert encoder.info()["kind"] == "encoder"


def test_scores_and_vectors_are_not_mixed_up(
    encoder: tabagent_model.Engine, scorer: tabagent_model.Engine, generator: tabagent_model.Engine
) -> None:
    for engine in (encoder, generator):
        with pytest.raises(tabagent_model.UnsupportedError, match="reranking"):
            engine.score(QUERY, TEXTS)
    with pytest.raises(tabagent_model.UnsupportedError, match="embeddings"):
        scorer.embed(TEXTS)


def test_what_between_raises_ends_the_computation(encoder: tabagent_model.Engine) -> None:
    calls = 0

    def stop_at_third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        encoder.embed([TEXTS[4]] * 40, between=stop_at_third)
    assert calls == 3
    assert len(encoder.embed(["still alive"])["vectors"]) == 1


def test_an_empty_text_is_refused_by_its_place(encoder: tabagent_model.Engine) -> None:
    with pytest.raises(tabagent_model.InvalidArgumentError, match=r"texts\[1\] is empty"):
        encoder.embed(["a", ""])
    assert encoder.embed([])["vectors"] == []


def test_closing_stops_what_is_computed(minilm: Path) -> None:
    engine = tabagent_model.Engine(minilm, threads=1)
    begun = threading.Event()
    failures: list[tabagent_model.TabagentError] = []

    def embed() -> None:
        try:
            engine.embed([TEXTS[4]] * 5000, between=begun.set)
        except tabagent_model.TabagentError as error:
            failures.append(error)

    thread = threading.Thread(target=embed)
    thread.start()
    begun.wait()
    engine.close()
    thread.join()
    assert [type(failure) for failure in failures] == [tabagent_model.NotLoadedError]


def test_streams_run_on_while_texts_are_embedded(generator: tabagent_model.Engine) -> None:
    """The two have contexts of their own: neither's results change."""
    expected = generator.embed(TEXTS)["vectors"]
    request = generator.submit("Once upon a time", max_tokens=200, temperature=0.0, ignore_eos=True)
    during = generator.embed(TEXTS)["vectors"]
    ends: list[str] = []
    while not ends:
        ends = [event["type"] for event in generator.drain() if event["type"] in ("finished", "failed")]
    assert ends == ["finished"]
    assert all(cosine(a, b) > 0.9999 for a, b in zip(expected, during, strict=True)), request


def test_a_models_face_for_scripts_embeds_too(library: str, minilm: Path, reranker: Path) -> None:
    with tabagent_model.PyModel() as model:
        model.load(library, minilm, threads=1)
        assert len(model.embed(["a text"])[0]) == 384
        with pytest.raises(tabagent_model.UnsupportedError, match="text generation"):
            model.generate("Once upon a time")
        model.load(library, reranker, threads=1)
        assert len(model.score(QUERY, ["one", "two"])) == 2
