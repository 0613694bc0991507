"""Makes the reply: headers that keep the thread together, and the model's text in two parts, plain and as
HTML that can do nothing but be read.
"""

from __future__ import annotations

import html
import re
from email import message_from_bytes, policy
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import format_datetime, getaddresses, localtime, make_msgid

import nh3
from markdown_it import MarkdownIt

from native_host.protocol import errors
from native_host.transports.gateway.email.reading import ENCODED_WORD, Address, Letter
from native_host.transports.gateway.email.shapes import EmailReply

_POLICY = policy.compat32.clone(linesep="\r\n", cte_type="7bit", mangle_from_=False)
"""Not one of the newer ones: they decode encoded words in what they are given to write, and what those hold
would become headers.
"""
_UTF_8 = Charset("utf-8")
_UTF_8.body_encoding = QP
_ONE_LINE = 70
_LONGEST_WORD = 200
"""Of a header's plain text. Longer ones, which cannot be folded, are encoded."""
_REPLY_MARKS = re.compile(r"(?: ?(?:re|aw|sv|vs|antw|rv|ref)(?:\[\d+\]|\(\d+\))? ?:)+ ?", re.IGNORECASE)
_TAGS = {
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
"""What a reply may hold: no pictures, since those tell their server who reads."""


Heads = dict[str, "str | Header"]


def write(letter: Letter, answer: str, *, quote: bool) -> EmailReply:
    """The reply with this text. Raises invalid_params where it cannot be sent to who it is for."""
    quoted = letter if quote else None
    text = _plain(answer, quoted)
    rich = _rich(answer, quoted)
    to = _recipient(letter)
    return EmailReply(
        subject=reply_subject(letter.subject),
        text=text,
        html=rich,
        message=_message(letter, text, rich).decode("ascii"),
        sender=None if letter.to is None else str(letter.to),
        to=None if to is None else str(to),
        in_reply_to=letter.message_id,
        references=_references(letter) or None,
    )


def check(letter: Letter) -> None:
    """Raise invalid_params where no reply to this e-mail could be written, whatever the answer."""
    _message(letter, "", "")


def _message(letter: Letter, text: str, rich: str) -> bytes:
    heads = _heads(letter)
    message = MIMEMultipart("alternative", policy=_POLICY)
    for name, value in heads.items():
        message[name] = value  # type: ignore[assignment]  # typeshed knows no Header
    message.attach(MIMEText(text, "plain", _UTF_8, policy=_POLICY))  # type: ignore[arg-type]  # or Charset
    message.attach(MIMEText(rich, "html", _UTF_8, policy=_POLICY))  # type: ignore[arg-type]  # or Charset
    found = message.as_bytes()
    _check_heads(found, letter, set(heads))
    return found


def _heads(letter: Letter) -> Heads:
    """The headers, in their order."""
    domain = letter.to.address.partition("@")[2] if letter.to else "localhost"
    to = _recipient(letter)
    heads: dict[str, str | Header | None] = {
        "Subject": _text_head(reply_subject(letter.subject)),
        "From": None if letter.to is None else _address_head(letter.to),
        "To": None if to is None else _address_head(to),
        "Date": format_datetime(localtime()),
        "Message-ID": make_msgid(domain=domain),
        "In-Reply-To": letter.message_id,
        "References": _references(letter) or None,
        "Auto-Submitted": "auto-replied",
    }
    return {name: value for name, value in heads.items() if value is not None}


def _recipient(letter: Letter) -> Address | None:
    return letter.reply_to or letter.sender


def _references(letter: Letter) -> str:
    return " ".join([*letter.references, *([letter.message_id] if letter.message_id else [])])


def _is_plain(text: str) -> bool:
    """Whether a header can hold it as it is."""
    short = all(len(word) <= _LONGEST_WORD for word in text.split())
    return short and text.isascii() and ENCODED_WORD not in text


def _text_head(text: str) -> str | Header:
    return text if _is_plain(text) else Header(text, "utf-8")


def _address_head(address: Address) -> str:
    """A name that needs no folding, in quotes or not, or encoded: some readers end quotes at a line's end."""
    if not address.name or (_is_plain(address.name) and len(str(address)) <= _ONE_LINE):
        return str(address)
    return f"{Header(address.name, 'utf-8').encode()} <{address.address}>"


def _check_heads(message: bytes, letter: Letter, names: set[str]) -> None:
    """Read what was written as others will. Raises invalid_params where it says anything else."""
    found = message_from_bytes(message.partition(b"\r\n\r\n")[0])
    expected = sorted([*names, "Content-Type", "MIME-Version"])
    if sorted(found.keys()) != expected or found.get_payload():
        raise errors.invalid_params("", "no reply can be made of its headers")
    for name, address in (("From", letter.to), ("To", _recipient(letter))):
        read = [each for _, each in getaddresses(found.get_all(name, []))]
        if read != ([] if address is None else [address.address]):
            raise errors.invalid_params("", f"the reply's {name} would not be one address")


def reply_subject(subject: str) -> str:
    """`Re: ` once, whatever replies have put before it."""
    marks = _REPLY_MARKS.match(subject)
    return f"Re: {subject[marks.end() :] if marks else subject}".strip()


def _attribution(letter: Letter) -> str:
    who = (letter.sender.name or letter.sender.address) if letter.sender else "somebody"
    return f"On {letter.date}, {who} wrote:" if letter.date else f"{who} wrote:"


def _plain(answer: str, quoted: Letter | None) -> str:
    if quoted is None:
        return answer + "\n"
    lines = [f"> {line}".rstrip() for line in quoted.text.splitlines()]
    return "\n".join([answer, "", _attribution(quoted), *lines, ""])


def _rich(answer: str, quoted: Letter | None) -> str:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    body = nh3.clean(
        markdown.render(answer),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https", "mailto"},
    )
    if quoted is not None:
        text = html.escape(quoted.text).replace("\n", "<br>\n")
        body += f"<p>{html.escape(_attribution(quoted))}</p>\n"
        body += f'<blockquote type="cite">{text}</blockquote>\n'
    return f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"></head><body>\n{body}</body></html>\n'
