"""Answers of gpt-oss: messages on channels, some of them to functions."""

from __future__ import annotations

import re

from .reader import News

MARKS = ("<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|constrain|>")
CALL = "<|channel|>commentary to=functions."
"""How a message begins that calls a function; its name follows."""
ARGUMENTS = " <|constrain|>json<|message|>"
"""What stands between a function's name and its arguments."""

_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)")
_FUNCTION = re.compile(r"\bto=functions\.([^\s<]+)")


class HarmonyReader:
    """Thoughts are on the channel `analysis`, calls are to `functions.NAME`, all else is text."""

    def __init__(self) -> None:
        self._held = ""
        self._kind = ""
        self._count = 0
        self._texts = 0
        self._thoughts = 0

    @property
    def called(self) -> bool:
        """Whether there are calls. A message ends with the answer, so the last one is whole unless the answer
        was cut, for which there are other words."""
        return self._count > 0

    def push(self, text: str) -> News:
        """The next piece of the answer."""
        self._held += text
        news = News()
        while self._read_message(news) if self._kind else self._read_header(news):
            pass
        return news

    def finish(self) -> News:
        """What was held back, once no more comes."""
        news = News()
        if self._kind:
            self._tell(self._held, news)
        elif not (self._count or self._texts or self._thoughts) and not _is_header(self._held):
            news.text = self._held
        self._held = ""
        return news

    def _read_header(self, news: News) -> bool:
        header, mark, after = self._held.partition("<|message|>")
        if not mark:
            return False
        self._held = after
        function, channel = _FUNCTION.search(header), _CHANNEL.search(header)
        if function is not None:
            self._kind = "call"
            news.begin_call(self._count, function[1])
            self._count += 1
        elif channel is not None and channel[1] == "analysis":
            self._kind = "thoughts"
            news.reasoning += "\n\n" if self._thoughts else ""
            self._thoughts += 1
        else:
            self._kind = "text"
            news.text += "\n\n" if self._texts else ""
            self._texts += 1
        return True

    def _read_message(self, news: News) -> bool:
        before, mark, after = self._held.partition("<|end|>")
        if mark:
            self._tell(before, news)
            self._held, self._kind = after, ""
            return True
        # A mark comes as one token, and so as one piece; but who cuts texts otherwise is served too.
        kept = before.rfind("<")
        settled = len(before) if kept < 0 or not "<|end|>".startswith(before[kept:]) else kept
        self._tell(before[:settled], news)
        self._held = before[settled:]
        return False

    def _tell(self, text: str, news: News) -> None:
        if self._kind == "thoughts":
            news.reasoning += text
        elif self._kind == "call":
            news.add_arguments(self._count - 1, text)
        else:
            news.text += text


def _is_header(text: str) -> bool:
    """Whether a text that ends without a message is the beginning of one, and no plain answer."""
    begins = text.lstrip()
    return begins.startswith(("<|", "to=functions."))
