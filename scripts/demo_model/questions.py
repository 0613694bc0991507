"""Reads the corpus and writes its questions in many ways: alternatives, shared phrases, slips in typing.

The files' syntax, one thing a line:
    @ name      a new entry
    > names     it is asked only after one of these
    ? phrasing  asked in training; `(a|b|)` picks one of its parts, `{phrase:X}` a shared phrase around X
    ! phrasing  never trained on: measures what was understood
    = text      a line of the answer
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
PHRASES = "phrases.txt"
SYSTEMS = "systems.txt"
# After any entry at all: `> *`.
AFTER_ANYTHING = "*"

_INNERMOST_CHOICE = re.compile(r"\(([^(){}]*\|[^(){}]*)\)")
_INNERMOST_PHRASE = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
_PARTS = re.compile(r" = ")


@dataclass
class Entry:
    """One answer and the ways to ask for it."""

    name: str
    topic: str
    after: list[str] = field(default_factory=list)
    phrasings: list[str] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def answer(self) -> str:
        """The answer's text."""
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Corpus:
    """All entries by name, the shared phrases, and the system prompts."""

    entries: dict[str, Entry]
    phrases: dict[str, list[str]]
    systems: list[str]


def _content_lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def _parse_phrase(line: str) -> tuple[str, list[str]]:
    name, alternatives = _PARTS.split(line, maxsplit=1)
    return name.strip(), [alternative.strip() for alternative in alternatives.split("|")]


def _parse_entries(path: Path, corpus: Corpus) -> None:
    entry: Entry | None = None
    for line in _content_lines(path):
        mark, _, rest = line.partition(" ")
        if _PARTS.search(line) and mark not in "@>?!=":
            name, alternatives = _parse_phrase(line)
            corpus.phrases[name] = alternatives
        elif mark == "@":
            if rest in corpus.entries:
                raise ValueError(f"{path.name}: two entries are called {rest}")
            entry = corpus.entries[rest] = Entry(rest, path.stem)
        elif entry is None or mark not in ">?!=":
            raise ValueError(f"{path.name}: cannot read {line!r}")
        elif mark == ">":
            entry.after.extend(rest.split())
        else:
            {"?": entry.phrasings, "!": entry.held_out, "=": entry.lines}[mark].append(rest)


def read_corpus(folder: Path = CORPUS) -> Corpus:
    """Read every file of the corpus. Raises ValueError for what it cannot read or what refers to nothing."""
    phrases = dict(_parse_phrase(line) for line in _content_lines(folder / PHRASES))
    corpus = Corpus({}, phrases, _content_lines(folder / SYSTEMS))
    for path in sorted(folder.glob("*.txt")):
        if path.name not in (PHRASES, SYSTEMS):
            _parse_entries(path, corpus)
    for entry in corpus.entries.values():
        if not (entry.phrasings and entry.lines):
            raise ValueError(f"{entry.name} lacks a question or an answer")
        unknown = [name for name in entry.after if name != AFTER_ANYTHING and name not in corpus.entries]
        if unknown:
            raise ValueError(f"{entry.name} comes after {unknown}, which are no entries")
    return corpus


def expand(phrasing: str, phrases: Mapping[str, list[str]], rng: random.Random) -> str:
    """Pick one of the ways that `phrasing` stands for."""

    def choose(match: re.Match[str]) -> str:
        return rng.choice(str(match.group(1)).split("|"))

    def fill(match: re.Match[str]) -> str:
        return rng.choice(phrases[match.group(1)]).replace("_", match.group(2) or "")

    while True:
        chosen = _INNERMOST_CHOICE.sub(choose, phrasing, count=1)
        if chosen == phrasing:
            chosen = _INNERMOST_PHRASE.sub(fill, phrasing, count=1)
        if chosen == phrasing:
            return " ".join(chosen.split()).replace(" ,", ",")
        phrasing = chosen


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


def _typo(text: str, rng: random.Random) -> str:
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


def as_typed(question: str, rng: random.Random) -> str:
    """`question` as somebody may type it: with or without capitals, question mark, courtesies, mistakes."""
    if rng.random() < 0.12:
        question = rng.choice(OPENINGS) + question
    if rng.random() < 0.08:
        question += rng.choice(ENDINGS)
    if rng.random() < 0.15:
        question = question.replace("'", "").replace("I am", "I'm")
    while rng.random() < 0.12:
        question = _typo(question, rng)
    case = rng.random()
    if case < 0.35:
        question = question.lower()
    elif case < 0.85:
        question = question[:1].upper() + question[1:]
    ending = rng.random()
    if ending < 0.55 and question[-1:] not in "?!.":
        question += "?"
    elif ending < 0.6 and question[-1:] not in "?!.":
        question += rng.choice((".", " ?", "??", "!"))
    return question
