"""Turns a clean question into what people type: other words, dropped words, asides, courtesies, slips."""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence

OPENINGS = (
    *(
        "hi, ",
        "hello, ",
        "hey, ",
        "please, ",
        "ok, ",
        "so, ",
        "and ",
        "quick question: ",
        "question: ",
        "also, ",
    ),
    *(
        "one question: ",
        "can you tell me: ",
        "I wonder, ",
        "hm, ",
        "well, ",
        "please tell me, ",
        "sorry, ",
        "now ",
    ),
)
ENDINGS = (" please", ", please", " thanks", ", thanks", " exactly", " here", " then", " in short", "!")
# Words that a hurried question does without.
SMALL_WORDS = frozenset(
    {
        *(
            "a",
            "an",
            "the",
            "is",
            "are",
            "do",
            "does",
            "did",
            "can",
            "could",
            "should",
            "would",
            "have",
            "has",
        ),
        *(
            "I",
            "you",
            "me",
            "my",
            "it",
            "its",
            "of",
            "to",
            "for",
            "in",
            "on",
            "with",
            "that",
            "this",
            "there",
        ),
        *("so", "be", "will", "please", "tell", "give", "what's", "how"),
    }
)
SHORTEST_FOR_DROPPING = 4


class Typist:
    """Types questions; what it draws on comes from the corpus."""

    def __init__(self, words: Sequence[Sequence[str]], asides: Sequence[str]) -> None:
        """`words` are groups of words for the same thing, `asides` sentences that change nothing."""
        self._groups = {word.lower(): group for group in words for word in group}
        longest_first = sorted(self._groups, key=len, reverse=True)
        self._word = re.compile(
            r"(?<![\w./$-])(" + "|".join(map(re.escape, longest_first)) + r")(?![\w./-])", re.I
        )
        self._asides = asides

    def type(self, question: str, rng: random.Random) -> str:
        """`question` as somebody may type it."""
        if rng.random() < 0.35:
            question = self._word.sub(lambda match: self._other_word(match.group(1), rng), question)
        if rng.random() < 0.1:
            question = _without_small_words(question, rng)
        if rng.random() < 0.12:
            question = rng.choice(OPENINGS) + question
        if rng.random() < 0.08:
            question += rng.choice(ENDINGS)
        if rng.random() < 0.15:
            question = question.replace("'", "").replace("I am", "I'm")
        while rng.random() < 0.12:
            question = _with_slip(question, rng)
        question = _punctuated(question, rng)
        aside = rng.random()
        if aside < 0.06:
            question = f"{rng.choice(self._asides)} {question}"
        elif aside < 0.09:
            question = f"{question} {rng.choice(self._asides)}"
        return question.lower() if rng.random() < 0.35 else question

    def _other_word(self, word: str, rng: random.Random) -> str:
        return rng.choice(self._groups[word.lower()]) if rng.random() < 0.4 else word


def _without_small_words(question: str, rng: random.Random) -> str:
    words = question.split()
    kept = [word for word in words if word not in SMALL_WORDS or rng.random() < 0.3]
    return " ".join(kept) if len(words) >= SHORTEST_FOR_DROPPING and len(kept) > 1 else question


def _with_slip(text: str, rng: random.Random) -> str:
    """One slip of the finger: a letter left out, doubled, swapped with its neighbour, or a wrong one."""
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if not places:
        return text
    at = rng.choice(places)
    slip = rng.randrange(4)
    if slip == 0:
        return text[:at] + text[at + 1 :]
    if slip == 1:
        return text[:at] + text[at] + text[at:]
    if slip == 2:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text[:at] + rng.choice(string.ascii_lowercase) + text[at + 1 :]


def _punctuated(question: str, rng: random.Random) -> str:
    if rng.random() < 0.6:
        question = question[:1].upper() + question[1:]
    if question[-1:] in "?!.":
        return question
    ending = rng.random()
    if ending < 0.5:
        return question + "?"
    return question + rng.choice((".", " ?", "??", "!")) if ending < 0.56 else question
