"""A session as the store has it: lines of JSON, the first of which says what the session is, each further one
an exchange. A chat adds one line, so that it is kept as a whole or not at all.
"""

from __future__ import annotations

import msgspec

from native_host.protocol.messages import ChatMessage


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session is. `created_at` is in seconds since 1970."""

    created_at: float
    ttl_s: float
    model: str | None = None
    system: str | None = None


class Exchange(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one chat added. `left_out` is how many of all messages before it the prompt was without."""

    messages: list[ChatMessage]
    left_out: int = 0


class SessionLog(msgspec.Struct, frozen=True):
    """A session that was read; `size` is its length in bytes."""

    head: Head
    messages: list[ChatMessage]
    left_out: int
    size: int


_encoder = msgspec.json.Encoder()
_heads = msgspec.json.Decoder(Head)
_exchanges = msgspec.json.Decoder(Exchange)


def line(record: Head | Exchange) -> bytes:
    """A line of the log."""
    return _encoder.encode(record) + b"\n"


def read(stored: bytes) -> SessionLog:
    """The log that these lines are."""
    first, *rest = stored.splitlines()
    exchanges = [_exchanges.decode(each) for each in rest]
    messages = [message for exchange in exchanges for message in exchange.messages]
    left_out = exchanges[-1].left_out if exchanges else 0
    return SessionLog(_heads.decode(first), messages, left_out, len(stored))
