"""Reads e-mails, from their parts or whole. Headers are cut and cleaned before anything takes them apart: the
standard library's parsers take minutes for some long ones.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from email import message_from_bytes, policy
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, quote

from msgspec import Struct

from native_host.protocol import errors
from native_host.transports.gateway.email.fresh_text import fresh_text
from native_host.transports.gateway.email.html_text import text_of_html
from native_host.transports.gateway.email.shapes import Email

MAX_MESSAGE_BYTES = 32 << 20
"""Of a whole e-mail, with what is attached to it."""
MAX_TEXT_BYTES = 256 << 10
"""Of a text that is read."""
_MAX_HEADER = 4096
_MAX_REFERENCES = 20
_MAX_PARTS = 200
_MAX_NAME = 128
_MAX_MULTIPARTS = 50
_MAX_LINES = 200_000

_PARTS = ("sender", "to", "reply_to", "subject", "date", "message_id", "references", "text", "html")
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})*")
_NEEDS_QUOTES = re.compile(r"[()<>@,:;\".\[\]\\]")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,240}>")
_ODD_CODECS = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf-7"}
"""Encodings of Python's that no e-mail has; some are slow."""
_BULK = ("bulk", "junk", "list")
_UNREADABLE = (MessageError, ValueError, LookupError, RecursionError)
"""What the standard library raises for odd headers."""
ENCODED_WORD = "=?"
"""What an encoded word (RFC 2047) begins with. Text that holds it would be decoded by whoever reads it."""


class Address(Struct, frozen=True):
    """Somebody's address, and the name that stands with it."""

    name: str
    address: str

    def __str__(self) -> str:
        if not self.name:
            return self.address
        name = f'"{quote(self.name)}"' if _NEEDS_QUOTES.search(self.name) else self.name
        return f"{name} <{self.address}>"


class Letter(Struct, frozen=True, kw_only=True):
    """What is known of an e-mail. `text` is all of it, `fresh` what is new in it."""

    sender: Address | None
    to: Address | None
    reply_to: Address | None
    subject: str
    date: str
    message_id: str | None
    references: tuple[str, ...]
    text: str
    fresh: str


def read(email: Email) -> Letter:
    """The e-mail. Raises invalid_params and input_too_long."""
    if email.message is not None:
        if any(getattr(email, name) is not None for name in _PARTS):
            raise errors.invalid_params("message", "is a whole e-mail; give it alone")
        return read_whole(email.message.encode("utf-8", "replace"))
    text, fresh = _texts(email.text, email.html)
    return Letter(
        sender=_given_address(email.sender, "from"),
        to=_given_address(email.to, "to"),
        reply_to=_given_address(email.reply_to, "reply_to"),
        subject=one_line(email.subject or ""),
        date=one_line(email.date or ""),
        message_id=_id(email.message_id or ""),
        references=_ids(email.references or ""),
        text=text,
        fresh=fresh,
    )


def read_whole(raw: bytes) -> Letter:
    """An e-mail as RFC 5322 has it. Raises invalid_params and input_too_long."""
    _check_effort(raw)
    try:
        message = message_from_bytes(raw, policy=_SHORT_HEADERS)
        plain, html = _bodies(message)
    except RecursionError:
        raise errors.invalid_params("message", "its parts are nested too deeply") from None
    except _UNREADABLE:
        raise errors.invalid_params("message", "cannot be read: its parts are broken") from None
    if not message.keys():
        raise errors.invalid_params("message", "has no headers: it is no e-mail")
    automatic = _header(message, "Auto-Submitted").lower()
    if automatic not in ("", "no") or _header(message, "Precedence").lower() in _BULK:
        raise errors.invalid_params("message", "was sent by a program: answering such makes loops")
    text, fresh = _texts(plain, html)
    return Letter(
        sender=_address(_raw_header(message, "From")),
        to=_address(_raw_header(message, "To")),
        reply_to=_address(_raw_header(message, "Reply-To")),
        subject=_header(message, "Subject"),
        date=_header(message, "Date"),
        message_id=_id(_header(message, "Message-ID")),
        references=_ids(_header(message, "References") or _header(message, "In-Reply-To")),
        text=text,
        fresh=fresh,
    )


def one_line(text: str) -> str:
    """A header's value without line ends and other control characters: nothing can be added by it."""
    printable = "".join(character if character.isprintable() else " " for character in text[:_MAX_HEADER])
    return " ".join(printable.encode("utf-8", "replace").decode().split())


class _ShortHeaders(policy.Compat32):
    """Cuts headers before the parser takes them apart, which takes it long for some long ones."""

    def header_source_parse(self, sourcelines: Sequence[str]) -> tuple[str, str]:
        """The name and as much of the value as is read."""
        name, value = super().header_source_parse(list(sourcelines))
        return name, value[:_MAX_HEADER]


_SHORT_HEADERS = _ShortHeaders()


def _check_effort(raw: bytes) -> None:
    """Raise input_too_long or invalid_params for what would take long to take apart."""
    if len(raw) > MAX_MESSAGE_BYTES:
        raise errors.input_too_long(MAX_MESSAGE_BYTES, bytes_=len(raw))
    multiparts = raw.lower().count(b"multipart/")
    if multiparts > _MAX_MULTIPARTS:
        problem = f"names {multiparts} multiparts; {_MAX_MULTIPARTS} are read at most"
        raise errors.invalid_params("message", problem)
    lines = raw.count(b"\n") + raw.count(b"\r") - raw.count(b"\r\n")
    if lines > _MAX_LINES:
        raise errors.invalid_params("message", f"has {lines} lines; {_MAX_LINES} are read at most")


def _texts(plain: str | None, html: str | None) -> tuple[str, str]:
    """All the text, and what is new in it. Raises invalid_params and input_too_long."""
    for each in (plain, html):
        size = len((each or "").encode("utf-8", "replace"))
        if size > MAX_TEXT_BYTES:
            raise errors.input_too_long(MAX_TEXT_BYTES, bytes_=size)
    if plain is not None and plain.strip():
        text = plain.strip()
        return text, fresh_text(text)
    if html is not None:
        text = text_of_html(html)
        if text:
            return text, fresh_text(text_of_html(html, without_quotes=True) or text)
    raise errors.invalid_params("text", "there is no text to answer: give text, html or message")


def _bodies(message: Message) -> tuple[str | None, str | None]:
    """The first plain text and the first HTML that are not attached."""
    found: dict[str, str] = {}
    for count, part in enumerate(message.walk()):
        if count >= _MAX_PARTS:
            break
        kind = part.get_content_type()
        if kind not in ("text/plain", "text/html") or kind in found:
            continue
        if not str(part.get("Content-Disposition", "")).lower().startswith("attachment"):
            found[kind] = _decoded(part)
    return found.get("text/plain"), found.get("text/html")


def _decoded(part: Message) -> str:
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    if len(data) > MAX_TEXT_BYTES:
        raise errors.input_too_long(MAX_TEXT_BYTES, bytes_=len(data))
    try:
        codec = codecs.lookup(str(part.get_content_charset("utf-8"))).name
        return data.decode("utf-8" if codec in _ODD_CODECS else codec, "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")


def _raw_header(message: Message, name: str) -> str:
    return one_line(str(message.get(name, "")))


def _header(message: Message, name: str) -> str:
    return _decoded_words(_raw_header(message, name))


def _decoded_words(raw: str) -> str:
    """The text of encoded words (RFC 2047); what cannot be decoded stays as it is."""
    try:
        return one_line(str(make_header(decode_header(raw))))
    except _UNREADABLE:
        return raw


def _given_address(text: str | None, member: str) -> Address | None:
    if text is None:
        return None
    found = _address(one_line(text))
    if found is None:
        raise errors.invalid_params(member, "is no e-mail address, such as Ann <ann@example.com>")
    return found


def _address(text: str) -> Address | None:
    """The first one; None where it is none that a reply could be sent to."""
    try:
        found = getaddresses([text])
    except _UNREADABLE:
        return None
    for name, address in found:
        if _ADDRESS.fullmatch(address) and ENCODED_WORD not in address:
            return Address(_decoded_words(one_line(name))[:_MAX_NAME].rstrip(), address)
    return None


def _ids(text: str) -> tuple[str, ...]:
    """The first is where the conversation began; of the others the last ones tell."""
    found = [id_ for id_ in _MESSAGE_ID.findall(text[:_MAX_HEADER]) if ENCODED_WORD not in id_]
    return tuple(found[:1] + found[1:][-_MAX_REFERENCES:])


def _id(text: str) -> str | None:
    return next(iter(_ids(text)), None)
