"""The training text can be read, every question can be written out, and its error codes are the host's."""

from __future__ import annotations

import itertools
import random
import re

import pytest
from demo_model.conversations import FIRST_QUESTIONS, Conversations, plain
from demo_model.questions import Corpus, expand, read_corpus
from demo_model.typed import Typist

from native_host.protocol import errors


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_corpus()


def test_there_are_hundreds_of_answers(corpus: Corpus) -> None:
    assert len({entry.answer for entry in corpus.entries.values()}) > 400


def test_answers_are_short_and_plain(corpus: Corpus) -> None:
    for entry in corpus.entries.values():
        assert len(entry.answer) <= 420, entry.name
        assert entry.answer.isascii(), entry.name


def test_every_question_can_be_written_out(corpus: Corpus) -> None:
    rng = random.Random(0)
    for entry in corpus.entries.values():
        for phrasing in entry.phrasings:
            for _ in range(20):
                question = expand(phrasing, corpus.phrases, rng)
                assert question, phrasing
                assert not re.search(r"[|]|\{\w+:|\( | \)", question), question


def test_held_out_questions_are_never_asked_in_training(corpus: Corpus) -> None:
    held_out = {plain(question) for entry in corpus.entries.values() for question in entry.held_out}
    conversations = itertools.islice(Conversations(corpus, seed=3), 3000)
    asked = {plain(m.content) for messages in conversations for m in messages if m.role == "user"}
    assert len(held_out) > 100
    assert not held_out & asked


def test_the_same_seed_draws_the_same_conversations(corpus: Corpus) -> None:
    first, again, other = (list(itertools.islice(Conversations(corpus, seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_expansion_picks_among_nested_alternatives() -> None:
    rng = random.Random(0)
    phrases = {"howto": ["how do I _", "how to _"]}
    written = {expand("{howto:(start|(stop|end) now)} it", phrases, rng) for _ in range(200)}
    verbs = ("start", "stop now", "end now")
    assert written == {f"{how} {verb} it" for how in ("how do I", "how to") for verb in verbs}


def test_typing_keeps_most_of_a_question(corpus: Corpus) -> None:
    rng, typist = random.Random(0), Typist(corpus.words, corpus.asides)
    question = "what does error -32010 mean"
    typed = [typist.type(question, rng).lower() for _ in range(200)]
    assert sum("-32010" in text for text in typed) > 150
    assert sum(question in text for text in typed) > 60
    assert len(set(typed)) > 50


def test_errors_are_described_with_the_codes_that_the_host_has(corpus: Corpus) -> None:
    answers = [entry.answer for entry in corpus.entries.values() if entry.topic == "errors"]
    told = {match[2]: int(match[1]) for answer in answers if (match := re.match(r"(-\d+), (\w+):", answer))}
    known = {row.kind: row.code for row in errors.CATALOGUE.values()}
    assert told
    assert {kind: known.get(kind) for kind in told} == told


def test_first_questions_are_entries(corpus: Corpus) -> None:
    assert set(FIRST_QUESTIONS) <= set(corpus.entries)
