"""Makes the identity of a peer from what is known about it."""

from __future__ import annotations

from native_host.protocol.identity import Identity

LOCAL = Identity("local", "local")
"""A process of the same user: the parent on stdio, or a peer of the same uid on the socket."""

SECRET = Identity("secret", "parent")
"""A peer that proved that it knows the shared secret."""


def for_origin(origin: str) -> Identity:
    """A browser extension, which may do nothing before its grant was looked at. The origin comes from the
    browser's arguments: which extension, not a proof.
    """
    return Identity("origin", origin, frozenset())


def for_chat(chat: str, key: Identity | None) -> Identity:
    """A chat of Telegram's: it may run models and see their names, as far as the named key may whose scopes,
    quotas, model and prompt each chat has.
    """
    scopes = frozenset({"infer", "models.read"})
    if key is None:
        return Identity("telegram", chat, scopes)
    return Identity("telegram", chat, scopes & key.scopes, key.quotas, key.model, key.prompt)
