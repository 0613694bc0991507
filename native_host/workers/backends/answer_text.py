"""From the bytes of tokens to text that can be delivered: whole characters, and no part of a stop string.

What the Rust engine does for GGUF models, for backends written in Python.
"""

from __future__ import annotations

import codecs


class AnswerText:
    """The text of one answer as its tokens come in; it ends before the first of `stops`.

    Of several stop strings that are completed by the same character, the longest counts.
    """

    def __init__(self, stops: list[str]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._matchers = [_Matcher(stop) for stop in stops if stop]
        self._held = ""
        self.stopped = False

    def push(self, new: bytes | str) -> str:
        """The text that is settled by a token's bytes, or by text that a server has decoded already."""
        return self._filter(self._decoder.decode(new) if isinstance(new, bytes) else new)

    def finish(self) -> str:
        """What was held back, once no more comes. An unfinished character becomes U+FFFD."""
        settled = self._filter(self._decoder.decode(b"", final=True))
        settled, self._held = settled + self._held, ""
        return settled

    def _filter(self, new: str) -> str:
        if self.stopped:
            return ""
        before, text = len(self._held), self._held + new
        for offset, character in enumerate(new):
            found = [matcher.length for matcher in self._matchers if matcher.advance(character)]
            if found:
                self._held = ""
                self.stopped = True
                return text[: before + offset + 1 - max(found)]
        keep = max((matcher.matched for matcher in self._matchers), default=0)
        settled, self._held = text[: len(text) - keep], text[len(text) - keep :]
        return settled


class _Matcher:
    """Follows one stop string through a text: Knuth, Morris and Pratt, SIAM J. Comput. 6(2), 1977."""

    def __init__(self, stop: str) -> None:
        self._stop = stop
        self.length = len(stop)
        self.matched = 0
        """How many characters of the stop string the text ends with."""
        self._fallback = [0] * self.length
        matched = 0
        for index in range(1, self.length):
            matched = self._next(matched, stop[index])
            self._fallback[index] = matched

    def _next(self, matched: int, character: str) -> int:
        while matched and self._stop[matched] != character:
            matched = self._fallback[matched - 1]
        return matched + (self._stop[matched] == character)

    def advance(self, character: str) -> bool:
        """Whether this character completes the stop string. Not to be called after that."""
        self.matched = self._next(self.matched, character)
        return self.matched == self.length
