"""Markdown as light as it must be to appear while it is being written: bold, code, headings.

Text goes out at once; only marks (`*`, backticks, `#` at the start of a line) wait for the character that
says what they are. Everything else stays as the model wrote it.
"""

from __future__ import annotations

Styled = tuple[str, str]
"""A run of text and its rich style; an empty style is plain."""

LONGEST_MARK = {"*": 2, "`": 3, "#": 6}


class MarkdownLight:
    """Feed it pieces of any size; it gives back styled runs. Call `finish` at the end of the text."""

    def __init__(self) -> None:
        self._runs: list[Styled] = []
        self._mark = ""
        self._mark_at_line_start = False
        self._line_start = True
        self._bold = self._code = self._fence = self._heading = False
        self._swallowing = False

    def feed(self, text: str) -> list[Styled]:
        """The runs that can be shown now."""
        for character in text:
            self._take(character)
        runs, self._runs = self._runs, []
        return runs

    def finish(self) -> list[Styled]:
        """What was still waiting, as if a line ended here."""
        self._resolve("\n")
        runs, self._runs = self._runs, []
        return runs

    def _take(self, character: str) -> None:
        if self._mark and character == self._mark[0] and len(self._mark) < LONGEST_MARK[character]:
            self._mark += character
            return
        self._resolve(character)
        if self._swallowing:
            self._swallowing = character != "\n"
            self._line_start = True
        elif character in "*`" or (character == "#" and self._line_start):
            self._mark, self._mark_at_line_start = character, self._line_start
            self._line_start = False
        elif not (character == " " and self._line_start and self._heading):
            self._show(character)

    def _resolve(self, following: str) -> None:
        mark, self._mark = self._mark, ""
        if not mark:
            return
        if mark == "```" and self._mark_at_line_start:
            self._fence = not self._fence
            self._swallowing = True  # the language's name, and the end of that line
        elif mark == "`" and not self._fence:
            self._code = not self._code
        elif mark == "**" and not (self._code or self._fence):
            self._bold = not self._bold
        elif mark[0] == "#" and following == " " and not self._fence:
            self._heading = True
            self._line_start = True  # so that the blank after the mark goes with it
        else:
            self._show(mark)

    def _show(self, text: str) -> None:
        if text == "\n":
            self._bold = self._code = self._heading = False
        self._line_start = text == "\n"
        style = self._style()
        if self._runs and self._runs[-1][1] == style:
            self._runs[-1] = (self._runs[-1][0] + text, style)
        else:
            self._runs.append((text, style))

    def _style(self) -> str:
        if self._code or self._fence:
            return "cyan"
        if self._heading:
            return "bold underline"
        return "bold" if self._bold else ""
