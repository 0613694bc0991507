"""The built-in model, opened by the Rust extension, gives the corpus's answers to what is asked first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tabagent_model
from demo_model.questions import read_corpus
from tabagent_model.types import Message

FILE = Path(__file__).parents[2] / "native_host" / "models" / "builtin" / "tabagent-demo.gguf"
CORPUS = read_corpus()


@pytest.fixture(scope="module")
def model() -> Iterator[tabagent_model.PyModel]:
    with tabagent_model.PyModel() as loaded:
        loaded.load(tabagent_model.get_optimal_binary("libllama.so"), str(FILE))
        yield loaded


def answer(model: tabagent_model.PyModel, *questions: str) -> str:
    """The last answer of a conversation in which `questions` are asked, greedily."""
    messages: list[Message] = []
    said = ""
    for question in questions:
        messages.append({"role": "user", "content": question})
        said = model.chat(messages, temperature=0.0)
        messages.append({"role": "assistant", "content": said})
    return said


@pytest.mark.parametrize(
    ("question", "entry"),
    [
        ("What is this program?", "what_is_it"),
        ("who are you", "who_are_you"),
        ("How do I start?", "how_to_start"),
        ("What is a frame?", "frame"),
        ("what is a runtime pack", "runtime_pack"),
        ("Which formats can it run?", "formats"),
        ("What does error -32010 mean?", "e_model_not_found"),
        ("What is the capital of France?", "o_capital"),
        ("what does parse_special do", "parse_special"),
    ],
)
def test_it_knows_what_is_asked_first(model: tabagent_model.PyModel, question: str, entry: str) -> None:
    assert answer(model, question) == CORPUS.entries[entry].answer


def test_it_follows_a_conversation(model: tabagent_model.PyModel) -> None:
    assert answer(model, "What is a frame?", "how big can it be?") == CORPUS.entries["f_frame_max"].answer
    assert answer(model, "What is a frame?", "thanks") == CORPUS.entries["f_thanks"].answer


def test_it_tokenizes_special_tokens_as_they_were_trained(model: tabagent_model.PyModel) -> None:
    vocabulary_size = model.vocab_size()
    opening, closing = (model.tokenize(text, parse_special=True) for text in ("<|im_start|>", "<|im_end|>"))
    assert len(opening) == len(closing) == 1
    assert closing == [model.token_eos()]
    assert 0 <= opening[0] < vocabulary_size
    assert len(model.tokenize("<|im_end|>", parse_special=False)) > 1
