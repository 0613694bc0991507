"""What the e-mail endpoints take and give."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from native_host.protocol import messages as wire
from native_host.transports.gateway.dialects import OwnErrorBody
from native_host.transports.gateway.rest import Answer

RFC822 = "message/rfc822"
"""The media type of a whole e-mail."""

MAX_BATCH = 64


class Options(wire.Params):
    """How a model is to answer. `prompt` is the named system prompt; `quote` whether the reply quotes."""

    model: str | None = None
    prompt: str = "email"
    system: str | None = None
    max_tokens: wire.Positive = 512
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    quote: bool = True


class Email(Options, kw_only=True):
    """`/api/v1/email`: an e-mail, whole, as RFC 5322 has it, in `message`, or in parts. `references` and
    `message_id` are what the reply is threaded by; `reply_to` is where it goes, if not to `from`.
    """

    message: str | None = None
    sender: str | None = field(name="from", default=None)
    to: str | None = None
    reply_to: str | None = None
    subject: str | None = None
    date: str | None = None
    message_id: str | None = None
    references: str | None = None
    text: str | None = None
    html: str | None = None


class EmailBatch(wire.Params):
    """`/api/v1/email/batch`: each message is answered on its own, as its own members say."""

    messages: Annotated[list[Email], Meta(min_length=1, max_length=MAX_BATCH)]


class EmailReply(Struct, kw_only=True, omit_defaults=True):
    """The reply: its headers and its two parts, and all of it in `message`, ready to be sent."""

    subject: str
    text: str
    html: str
    message: str
    sender: str | None = field(name="from", default=None)
    to: str | None = None
    in_reply_to: str | None = None
    references: str | None = None


class EmailAnswer(Answer, kw_only=True):
    """`response` is what the model wrote, `reply` the e-mail made of it."""

    reply: EmailReply


class EmailResult(Struct, kw_only=True, omit_defaults=True):
    """One of the two."""

    answer: EmailAnswer | None = None
    error: OwnErrorBody | None = None


class EmailAnswers(Struct, kw_only=True):
    """An answer, or an error, for each message, in their order."""

    results: list[EmailResult]
