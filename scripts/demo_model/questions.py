"""Reads the corpus, and writes a question out in one of the many ways that its line stands for.

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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
PHRASES, SYSTEMS, WORDS, ASIDES = "phrases.txt", "systems.txt", "words.txt", "asides.txt"
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
    """All entries by name, and what they share."""

    entries: dict[str, Entry]
    phrases: dict[str, list[str]]
    systems: list[str]
    words: list[list[str]]
    asides: list[str]


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
    words = [_PARTS.split(line) for line in _content_lines(folder / WORDS)]
    corpus = Corpus({}, phrases, _content_lines(folder / SYSTEMS), words, _content_lines(folder / ASIDES))
    for path in sorted(folder.glob("*.txt")):
        if path.name not in (PHRASES, SYSTEMS, WORDS, ASIDES):
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
