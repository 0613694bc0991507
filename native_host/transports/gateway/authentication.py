"""Who asks by HTTP: the holder of an API key, or, where the operator allows it, a program on this machine."""

from __future__ import annotations

import ipaddress

from starlette.requests import HTTPConnection

from native_host.guard.keys import KeyStore
from native_host.protocol import errors
from native_host.protocol.identity import Identity
from native_host.transports.host import Host

KEYLESS = Identity("local", "http")
"""A program on this machine that showed no key. Not the user's own processes: any account's may connect."""

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_SCHEME = "api_key"


class Authentication:
    """Answers the identity of whoever asks. Raises unauthenticated."""

    def __init__(self, host: Host) -> None:
        self._keys = host.policy.keys
        self._open_loopback = host.settings.open_loopback
        self._log = host.log

    async def __call__(self, connection: HTTPConnection) -> Identity:
        """Who asks. Where there are no keys at all, one that is shown means nothing: some clients insist."""
        key = presented_key(connection)
        if key is not None and self._keys is not None:
            return self._holder(key, self._keys)
        if self._open_loopback and is_loopback(connection):
            return KEYLESS
        raise errors.unauthenticated(_SCHEME, "", "give an API key: Authorization: Bearer KEY, or X-API-Key")

    def _holder(self, key: str, keys: KeyStore) -> Identity:
        found = keys.find(key)
        if found is None:
            self._log.warning("authentication.failed", connection="http", reason="no such API key")
            raise errors.unauthenticated(_SCHEME, "", "no such API key")
        return found


def presented_key(connection: HTTPConnection) -> str | None:
    """The key that a request carries. An empty one is none: clients that need no key send such."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return connection.headers.get("x-api-key") or None


def is_loopback(connection: HTTPConnection) -> bool:
    """Whether it comes from this machine, and not through a proxy on it."""
    if connection.client is None or any(name in connection.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(connection.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
