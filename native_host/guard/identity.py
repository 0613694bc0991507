"""Makes the identity of a peer from what is known about it."""

from __future__ import annotations

from native_host.protocol.identity import Identity

LOCAL = Identity("local", "local")
"""A process of the same user: the parent on stdio, or a peer of the same uid on the socket."""

SECRET = Identity("secret", "parent")
"""A peer that proved that it knows the shared secret."""


def for_origin(origin: str) -> Identity:
    """A browser extension. The origin comes from the browser's arguments: which extension, not a proof."""
    return Identity("origin", origin)
