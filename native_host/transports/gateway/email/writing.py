"""Makes the reply: headers that keep the thread together, and the model's text in two parts, plain and as
HTML that can do nothing but be read.
"""

from __future__ import annotations

import html
import re
from email import policy
from email.headerregistry import Address as HeaderAddress
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid

import nh3
from markdown_it import MarkdownIt

from native_host.transports.gateway.email.reading import Address, Letter
from native_host.transports.gateway.email.shapes import EmailReply

_POLICY = policy.SMTP.clone(cte_type="7bit")
_REPLY_MARKS = re.compile(r"(?: ?(?:re|aw|sv|vs|antw|rv|ref)(?:\[\d+\]|\(\d+\))? ?:)+ ?", re.IGNORECASE)
_TAGS = {
    "a", "b", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li",
    "ol", "p", "pre", "s", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
"""What a reply may hold: no pictures, since those tell their server who reads."""


def write(letter: Letter, answer: str, *, quote: bool) -> EmailReply:
    """The reply with this text."""
    subject = reply_subject(letter.subject)
    quoted = letter if quote else None
    text = _plain(answer, quoted)
    rich = _rich(answer, quoted)
    to = letter.reply_to or letter.sender
    references = [*letter.references, *([letter.message_id] if letter.message_id else [])]
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = subject
    if letter.to is not None:
        message["From"] = _for_header(letter.to)
    if to is not None:
        message["To"] = _for_header(to)
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = make_msgid(
        domain=letter.to.address.partition("@")[2] if letter.to else "localhost"
    )
    if letter.message_id is not None:
        message["In-Reply-To"] = letter.message_id
    if references:
        message["References"] = " ".join(references)
    message["Auto-Submitted"] = "auto-replied"
    message.set_content(text)
    message.add_alternative(rich, subtype="html")
    return EmailReply(
        subject=subject,
        text=text,
        html=rich,
        message=message.as_bytes().decode("ascii"),
        sender=None if letter.to is None else str(letter.to),
        to=None if to is None else str(to),
        in_reply_to=letter.message_id,
        references=" ".join(references) or None,
    )


def reply_subject(subject: str) -> str:
    """`Re: ` once, whatever replies have put before it."""
    marks = _REPLY_MARKS.match(subject)
    return f"Re: {subject[marks.end() :] if marks else subject}".strip()


def _for_header(address: Address) -> HeaderAddress:
    return HeaderAddress(display_name=address.name, addr_spec=address.address)


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
