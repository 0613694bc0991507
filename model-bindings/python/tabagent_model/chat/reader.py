"""Tells an answer's parts apart as it comes: thoughts, text, calls of tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .formats import CallFormat, Slot, Thoughts

_NAME_ENDS = frozenset("\"'<>[](){}|｜: \n\t/=,")
"""Characters that no tool's name has, one of which begins whatever follows it."""


@dataclass
class CallPiece:
    """More of the call number `index`: its `name` with the first piece, then its arguments' JSON text."""

    index: int
    name: str | None = None
    arguments: str = ""


@dataclass
class News:
    """What a piece of an answer adds."""

    text: str = ""
    reasoning: str = ""
    calls: list[CallPiece] = field(default_factory=list)

    def begin_call(self, index: int, name: str) -> None:
        """A call whose name is known."""
        self.calls.append(CallPiece(index, name))

    def add_arguments(self, index: int, piece: str) -> None:
        """More arguments of a call; pieces of one call become one."""
        if not piece:
            return
        if self.calls and self.calls[-1].index == index:
            self.calls[-1].arguments += piece
        else:
            self.calls.append(CallPiece(index, None, piece))


class Reader(Protocol):
    """Reads one answer. However the answer is cut into pieces, the news add up to the same."""

    @property
    def called(self) -> bool:
        """Whether the answer so far ends with nothing but whole calls, one at least."""

    def push(self, text: str) -> News:
        """The next piece of the answer."""

    def finish(self) -> News:
        """What was held back, once no more comes."""


class PlainReader:
    """An answer that is nothing but text."""

    called = False

    def push(self, text: str) -> News:
        """It is what it is."""
        return News(text)

    def finish(self) -> News:
        """Nothing is held back."""
        return News()


class MarkedReader:
    """An answer whose thoughts and calls stand between marks.

    Thoughts come first, or not at all; `thinking`: the prompt has begun them. Blanks around thoughts, before
    calls and between them are dropped, other text is kept. What looks like a call and is none is text.
    """

    def __init__(
        self,
        thoughts: Thoughts | None = None,
        thinking: bool = False,
        calls: CallFormat | None = None,
        raw_strings: Mapping[str, frozenset[str]] | None = None,
    ) -> None:
        """`raw_strings`: by tool, the parameters that are strings (for formats that write them as such)."""
        self._thoughts = thoughts
        self._format = calls
        self._raw_strings = raw_strings or {}
        self._held = ""
        self._blank = ""
        """White space that is text only if other text follows."""
        self._drops_blank = False
        self._said = False
        self._count = 0
        self._call: _CallReader | None = None
        self._raw = ""
        """The text of what may be a call, until its name is told."""
        self._state: Callable[[News], bool] = self._read_text
        if thoughts is not None:
            self._state = self._read_thoughts if thinking else self._read_beginning

    @property
    def called(self) -> bool:
        """Whether there are calls, the last of them whole."""
        return self._count > 0 and self._state != self._read_call

    def push(self, text: str) -> News:
        """The next piece of the answer."""
        self._held += text
        if self._call is not None and self._state == self._read_call and not self._call.begun:
            self._raw += text
        news = News()
        while self._state(news):
            pass
        return news

    def finish(self) -> News:
        """What was held back, once no more comes. A call that is cut short stays as it is."""
        news = News()
        if self._state == self._read_thoughts:
            news.reasoning = self._held.rstrip()
        elif self._state == self._read_after_call:
            pass  # half of a mark that follows calls
        elif self._call is None or self._state != self._read_call:
            self._say(self._held, news)
        elif not self._call.begun:
            self._say(self._raw, news)
        if not self._drops_blank:
            news.text += self._blank
        self._held = self._blank = ""
        return news

    def _read_beginning(self, news: News) -> bool:
        """Thoughts, if the answer begins with them."""
        assert self._thoughts is not None
        opening, begins = self._thoughts.opening, self._held.lstrip()
        if begins.startswith(opening):
            self._held = begins[len(opening) :]
            self._state = self._read_thoughts
            return True
        if opening.startswith(begins):
            return False
        self._state = self._read_text
        return True

    def _read_thoughts(self, news: News) -> bool:
        assert self._thoughts is not None
        if not self._said:
            self._held = self._held.lstrip()
        before, mark, after = self._held.partition(self._thoughts.closing)
        if not mark:
            # Blanks before the end are none of the thoughts: they wait for what comes.
            settled = self._held[: len(self._held) - _begun(self._held, self._thoughts.closing)].rstrip()
            self._said = self._said or bool(settled)
            news.reasoning += settled
            self._held = self._held[len(settled) :]
            return False
        news.reasoning += before.rstrip()
        self._held = after
        self._said, self._drops_blank = False, True
        self._state = self._read_text
        return True

    def _read_text(self, news: News) -> bool:
        call_format = self._format
        if call_format is None or (call_format.alone and self._said):
            self._say(self._held, news)
            self._held = ""
            return False
        if call_format.alone:
            return self._read_lone_call(call_format, news)
        before, mark, after = self._held.partition(call_format.trigger)
        if not mark:
            settled = len(self._held) - _begun(self._held, call_format.trigger)
            self._say(self._held[:settled], news)
            self._held = self._held[settled:]
            return False
        self._say(before, news)
        self._held = mark + after
        self._begin_calls(call_format.opening)
        return True

    def _read_lone_call(self, call_format: CallFormat, news: News) -> bool:
        begins = self._held.lstrip()
        if begins.startswith(call_format.trigger):
            self._held = begins
            self._begin_calls(call_format.opening)
            return True
        if call_format.trigger.startswith(begins):
            return False
        self._said = True
        self._say(self._held, news)
        self._held = ""
        return False

    def _begin_calls(self, lead: str) -> None:
        assert self._format is not None
        self._raw = self._held
        self._call = _CallReader(self._format, lead, self._count, self._raw_strings)
        self._state = self._read_call

    def _read_call(self, news: News) -> bool:
        assert self._call is not None
        self._held = self._call.read(self._held, news)
        if self._call.begun:
            self._raw, self._blank, self._drops_blank = "", "", True
        if self._call.state == "needs more":
            return False
        if self._call.begun:
            self._count += 1
            complete = self._call.state == "complete"
            self._state = self._read_after_call if complete else self._read_text
            return True
        # Where the mark stands is no call, but there may be one in what follows.
        self._state = self._read_text
        self._say(self._raw[:1], news)
        self._said, self._held = True, self._raw[1:]
        return True

    def _read_after_call(self, news: News) -> bool:
        """Another call, or the end of them."""
        assert self._format is not None
        closing, again = self._format.closing, self._next_lead()
        if closing and self._held.startswith(closing):
            self._held = self._held[len(closing) :]
        elif self._format.opening and self._held.startswith(again):
            self._begin_calls(self._format.between)
            return True
        elif (closing and closing.startswith(self._held)) or (
            self._format.opening and again.startswith(self._held)
        ):
            return False
        self._state = self._read_text
        return True

    def _next_lead(self) -> str:
        assert self._format is not None
        first = self._format.call[0]
        assert isinstance(first, str)
        return self._format.between + first

    def _say(self, text: str, news: News) -> None:
        """Text beside calls and thoughts; blanks wait until it is known whether text follows."""
        self._blank += text
        if not self._blank.strip():
            if not self._drops_blank and self._format is None:
                news.text += self._blank
                self._blank = ""
            return
        first = self._drops_blank and not self._said
        kept = self._blank.lstrip() if first else self._blank
        self._blank, self._drops_blank = "", False
        if self._format is not None:
            kept, self._blank = kept.rstrip(), kept[len(kept.rstrip()) :]
        self._said = True
        news.text += kept


class _CallReader:
    """Follows one call through its format's steps."""

    def __init__(
        self,
        call_format: CallFormat,
        lead: str,
        index: int,
        raw_strings: Mapping[str, frozenset[str]],
    ) -> None:
        first, *rest = call_format.call
        assert isinstance(first, str)
        self._steps: list[str | Slot] = [lead + first, *rest]
        self._format = call_format
        self._index = index
        self._raw_strings = raw_strings
        self._name = ""
        self._arguments: _JsonArguments | _ListedArguments | None = None
        self.begun = False
        """Whether its name has been told."""
        self.state: Literal["needs more", "complete", "no call"] = "needs more"

    def read(self, held: str, news: News) -> str:
        """Take what belongs to the call, and give the rest back."""
        self.state = "needs more"
        while self._steps:
            step = self._steps[0]
            if isinstance(step, str):
                if not held.startswith(step):
                    if not step.startswith(held):
                        self.state = "no call"
                    return held
                held = held[len(step) :]
            elif step is Slot.ARGUMENTS:
                held, complete = self._read_arguments(held, news)
                if not complete:
                    return held
            else:
                word, held_after = _word(held)
                if not held_after:
                    return held
                held = held_after
                if step is Slot.NAME:
                    self._name = word
            del self._steps[0]
        self.state = "complete"
        return held

    def _read_arguments(self, held: str, news: News) -> tuple[str, bool]:
        if self._arguments is None:
            if not held:
                return held, False
            self.begun = True
            news.begin_call(self._index, self._name)
            parameters = self._format.parameters
            if parameters is None:
                self._arguments = _JsonArguments()
            else:
                raw = self._raw_strings.get(self._name, frozenset())
                self._arguments = _ListedArguments(
                    parameters.before, parameters.middle, parameters.after, raw
                )
        piece, held, complete = self._arguments.read(held)
        news.add_arguments(self._index, piece)
        return held, complete


class _Quotes:
    """Follows JSON to know where strings are."""

    def __init__(self) -> None:
        self.open = False
        """Whether what follows is in a string."""
        self._escaped = False

    def follow(self, character: str) -> None:
        """The next character."""
        if self._escaped:
            self._escaped = False
        elif character == '"':
            self.open = not self.open
        elif self.open:
            self._escaped = character == "\\"


class _JsonArguments:
    """Finds the end of a JSON object."""

    def __init__(self) -> None:
        self._depth = 0
        self._quotes = _Quotes()

    def read(self, held: str) -> tuple[str, str, bool]:
        """The arguments' text, what follows it, and whether it is complete."""
        for position, character in enumerate(held):
            self._quotes.follow(character)
            if self._quotes.open:
                continue
            if character in "{[":
                self._depth += 1
            elif character in "}]":
                self._depth -= 1
                if not self._depth:
                    return held[: position + 1], held[position + 1 :], True
        return held, "", False


class _ListedArguments:
    """Makes JSON of arguments that are written one by one."""

    def __init__(self, before: str, middle: str, after: str, raw_strings: frozenset[str]) -> None:
        self._before, self._middle, self._after = before, middle, after
        self._raw_strings = raw_strings
        self._said = "{"
        self._key: str | None = None
        self._any = False
        self._quotes = _Quotes()

    def read(self, held: str) -> tuple[str, str, bool]:
        """The arguments' JSON so far, what is left, and whether it is complete."""
        piece = ""
        while True:
            if self._key is None:
                if self._before.startswith(held):
                    return piece, held, False
                if not held.startswith(self._before):
                    return piece + ("}" if self._any else "{}"), held, True
                key, mark, after = held[len(self._before) :].partition(self._middle)
                if not mark:
                    return piece, held, False
                self._key, held = key, after
                piece += (", " if self._any else "{") + json.dumps(key, ensure_ascii=False) + ": "
                piece += '"' if key in self._raw_strings else ""
                self._any = True
            value, held, complete = self._value(held)
            piece += self._written(value)
            if not complete:
                return piece, held, False
            piece += '"' if self._key in self._raw_strings else ""
            self._key = None

    def _value(self, held: str) -> tuple[str, str, bool]:
        """What is there of a value, what is left, and whether the value is complete."""
        if self._key not in self._raw_strings and "\n" not in self._after:
            return self._json_value(held)
        value, mark, after = held.partition(self._after)
        if mark:
            return value, after, True
        settled = len(held) - _begun(held, self._after)
        return held[:settled], held[settled:], False

    def _json_value(self, held: str) -> tuple[str, str, bool]:
        """As `_value`, where a string in the value may hold the mark of its end: without a line break in it
        the mark can stand in JSON."""
        mark = self._after
        for position, character in enumerate(held):
            if character == mark[0] and not self._quotes.open:
                if held.startswith(mark, position):
                    return held[:position], held[position + len(mark) :], True
                if len(held) - position < len(mark) and mark.startswith(held[position:]):
                    return held[:position], held[position:], False
            self._quotes.follow(character)
        return held, "", False

    def _written(self, value: str) -> str:
        if self._key not in self._raw_strings:
            return value
        return json.dumps(value, ensure_ascii=False)[1:-1]


def _word(held: str) -> tuple[str, str]:
    """A name, and what follows it; nothing follows while it may go on."""
    for position, character in enumerate(held):
        if character in _NAME_ENDS:
            return held[:position], held[position:]
    return held, ""


def _begun(text: str, mark: str) -> int:
    """How many of the last characters may be the beginning of a mark."""
    longest = min(len(text), len(mark) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(mark[:length])), 0)
