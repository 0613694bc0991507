"""Endless seeded conversations over the corpus: what the built-in model is trained on."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from demo_model.questions import AFTER_ANYTHING, Corpus, Entry, expand
from demo_model.typed import Typist

# How often an entry is drawn, by the file that it is in: what nobody can list takes the most examples.
TOPIC_WEIGHTS = {"offtopic": 8.0, "smalltalk": 1.5, "start": 1.5, "about": 1.5, "errors": 1.3}
# What nearly everybody asks first is drawn so many times as often.
FIRST_QUESTIONS = (
    *("who_are_you", "what_is_it", "what_can_you_do", "how_to_start", "s_hello", "frame", "models_json"),
    *("runtime_pack", "cmd_chat", "formats", "get_real_model", "how_trained"),
)
FIRST_QUESTION_WEIGHT = 3.0
SYSTEM_SHARE = 0.12
FOLLOW_UP_SHARE = 0.3
ANOTHER_TURN = 0.4


@dataclass(frozen=True)
class Message:
    """One message of a conversation."""

    role: str
    content: str


def plain(question: str) -> str:
    """`question` without what does not distinguish it from another: case and final punctuation."""
    return question.lower().rstrip("?!. ")


class Conversations:
    """Draws conversations; the same seed gives the same ones, in the same order."""

    def __init__(self, corpus: Corpus, seed: int) -> None:
        """`corpus` is what is asked and answered."""
        self._corpus = corpus
        self._rng = random.Random(seed)
        self._typist = Typist(corpus.words, corpus.asides)
        self._first = [entry for entry in corpus.entries.values() if not entry.after]
        self._weights = [
            TOPIC_WEIGHTS.get(entry.topic, 1.0)
            * (FIRST_QUESTION_WEIGHT if entry.name in FIRST_QUESTIONS else 1.0)
            for entry in self._first
        ]
        self._held_out = {plain(question) for entry in corpus.entries.values() for question in entry.held_out}
        self._after: dict[str, list[Entry]] = defaultdict(list)
        for entry in corpus.entries.values():
            for name in entry.after:
                self._after[name].append(entry)

    def __iter__(self) -> Iterator[list[Message]]:
        """Conversations without end."""
        while True:
            yield self._draw()

    def ask(self, entry: Entry) -> str:
        """One way to ask for `entry`'s answer, never one that is held out."""
        rng = self._rng
        while True:
            question = expand(rng.choice(entry.phrasings), self._corpus.phrases, rng)
            typed = self._typist.type(question, rng)
            if plain(typed) not in self._held_out:
                return typed

    def _draw(self) -> list[Message]:
        rng = self._rng
        messages: list[Message] = []
        if rng.random() < SYSTEM_SHARE:
            messages.append(Message("system", rng.choice(self._corpus.systems)))
        entry: Entry | None = None
        while entry is None or rng.random() < ANOTHER_TURN:
            entry = self._next(entry)
            messages += [Message("user", self.ask(entry)), Message("assistant", entry.answer)]
        return messages

    def _next(self, before: Entry | None) -> Entry:
        if before is not None and self._rng.random() < FOLLOW_UP_SHARE:
            special = self._after[before.name]
            if special and self._rng.random() < 0.6:
                return self._rng.choice(special)
            return self._rng.choice(self._after[AFTER_ANYTHING])
        return self._rng.choices(self._first, self._weights)[0]
