"""HTML of e-mails as plain text, in time that grows with its length only. The text is for a model and for
quoting, where it is escaped: nothing here has to be a browser.
"""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)([^<>]*)>")
_DECLARATION = re.compile(r"<[!?][^<>]*>")
_HREF = re.compile(r"""\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"&#[0-9]{10,};?")
"""No character has one; the standard library fails at some thousand digits."""
_UNSEEN = ("script", "style", "title")
_BREAKS = {
    "br": "\n", "td": " ", "th": " ", "li": "\n- ", "p": "\n\n",
    **dict.fromkeys(
        ("blockquote", "div", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "ol", "pre", "table", "tr", "ul"),
        "\n",
    ),
}  # fmt: skip
"""What stands for the beginning of an element."""
_CLOSING = {**_BREAKS, "li": "", "td": "", "th": "", "br": ""}


def text_of_html(source: str, *, without_quotes: bool = False) -> str:
    """What a reader would see; `without_quotes` leaves out block quotes, which earlier e-mails stand in."""
    reader = _Reader(without_quotes)
    reader.read(source)
    lines = (" ".join(line.split()) for line in "".join(reader.parts).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader:
    def __init__(self, without_quotes: bool) -> None:
        self.parts: list[str] = []
        self._without_quotes = without_quotes
        self._quotes = 0
        self._pre = 0
        self._link: str | None = None

    def read(self, source: str) -> None:
        """Put the text together."""
        at = 0
        while at < len(source):
            begin = source.find("<", at)
            begin = len(source) if begin < 0 else begin
            self._text(source[at:begin])
            at = self._markup(source, begin)

    def _markup(self, source: str, at: int) -> int:
        """Read what begins with `<` there; where it ends."""
        if source.startswith("<!--", at):
            end = source.find("-->", at + 4)
            return len(source) if end < 0 else end + 3
        tag = _TAG.match(source, at)
        if tag is None:
            declaration = _DECLARATION.match(source, at)
            if declaration is None:
                self._text(source[at : at + 1])
            return at + 1 if declaration is None else declaration.end()
        name = tag.group(2).lower()
        if tag.group(1):
            self._close(name)
        elif name in _UNSEEN:
            closing = re.compile(f"</{name}", re.IGNORECASE).search(source, tag.end())
            return len(source) if closing is None else closing.start()
        else:
            self._open(name, tag.group(3))
        return tag.end()

    def _open(self, name: str, attributes: str) -> None:
        self._quotes += name == "blockquote"
        self._pre += name == "pre"
        self._put(_BREAKS.get(name, ""))
        if name == "a":
            found = _HREF.search(attributes)
            self._link = _unescaped("".join(found.groups(""))) if found else None

    def _close(self, name: str) -> None:
        if name == "a" and self._link is not None:
            link, self._link = self._link, None
            if link.startswith(("http:", "https:")) and (not self.parts or link not in self.parts[-1]):
                self._put(f" <{link}>")
        self._put(_CLOSING.get(name, ""))
        self._quotes -= name == "blockquote" and self._quotes > 0
        self._pre -= name == "pre" and self._pre > 0

    def _text(self, text: str) -> None:
        seen = _unescaped(text)
        self._put(seen if self._pre else re.sub(r"\s+", " ", seen))

    def _put(self, text: str) -> None:
        if text and not (self._without_quotes and self._quotes):
            self.parts.append(text)


def _unescaped(text: str) -> str:
    return html.unescape(_LONG_NUMBER.sub("\ufffd", text))
