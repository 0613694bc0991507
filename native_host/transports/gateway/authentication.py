"""Who asks by HTTP: the holder of an API key, whoever can sign with the shared secret, or, where the operator
allows it, a program on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from starlette.requests import HTTPConnection, Request

from native_host.guard.addresses import counted_as, is_loopback
from native_host.guard.identity import SECRET
from native_host.guard.limits import Standing
from native_host.guard.signatures import SCHEME, SignatureChecker, SignatureRefused
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.frames import ByteBudget
from native_host.protocol.identity import Identity
from native_host.transports.gateway import bodies
from native_host.transports.gateway.door import standing_of
from native_host.transports.held import Held
from native_host.transports.host import Host

KEYLESS = Identity("local", "http")
"""A program on this machine that showed no key. Not the user's own processes: any account's may connect."""

_FORWARDED = (
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
)
"""What proxies add. One that adds nothing cannot be told from a program on this machine."""
_SCHEME = "api_key"
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9-]*)(?: +(.*))?")
_IN_QUERY = frozenset({"key", "api_key", "apikey", "api-key", "x-api-key", "token", "access_token"})


class Authentication:
    """Answers the identity of whoever asks, and counts the request. Raises unauthenticated and
    rate_limited.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._policy = host.policy.for_strangers()
        self._key_header = host.settings.key_header
        self._open_loopback = host.settings.open_loopback
        secret = self._policy.secret
        self._signatures = None if secret is None else SignatureChecker(secret)
        self._unproven = ByteBudget(_unproven_limit(host))

    async def __call__(self, connection: HTTPConnection) -> Identity:
        """Who asks."""
        try:
            identity = await self._known(connection)
            standing = await self._count(connection, identity)
        except RpcError as error:
            if error.kind == "unauthenticated":
                self._host.log.warning("authentication.failed", connection="http", reason=error.message)
                await self._count_stranger(connection)
            connection.state.standing = standing_of(error)
            raise
        if standing is not None:
            connection.state.standing = standing
        return identity

    async def _known(self, connection: HTTPConnection) -> Identity:
        """Who asks. Where there is no key at all, one that is shown means nothing: some clients insist.

        Raises unauthenticated.
        """
        shown = self._shown(connection)
        if shown is not None and shown[0] == SCHEME.lower():
            return await self._signed(connection, shown[1])
        open_here = self._open_loopback and _from_this_machine(connection)
        if shown is not None and not (open_here and self._policy.nothing_to_show):
            return self._holder(shown[1])
        if open_here:
            return KEYLESS
        in_query = _IN_QUERY & {name.lower() for name in connection.query_params}
        hint = " (not in the address, which ends up in logs)" if in_query else ""
        raise _refused(f"give an API key{hint}: Authorization: Bearer KEY, or {self._key_header}: KEY")

    def _shown(self, connection: HTTPConnection) -> tuple[str, str] | None:
        """The scheme, in small letters, and the credentials. An empty key is none: clients that need no key
        send such.
        """
        authorizations = _values(connection, "authorization")
        keys = _values(connection, self._key_header)
        shown = [self._authorization(value) for value in authorizations] + [("bearer", key) for key in keys]
        if len(shown) > 1:
            raise _refused("give one API key or signature, not several")
        return shown[0] if shown and shown[0][1] else None

    def _authorization(self, value: str) -> tuple[str, str]:
        match = _CREDENTIALS.fullmatch(value)
        scheme = match.group(1).lower() if match else ""
        if match is None or scheme not in ("bearer", SCHEME.lower()):
            raise _refused(f"Authorization takes Bearer KEY, or {SCHEME} with a signature")
        return scheme, match.group(2) or ""

    def _holder(self, key: str) -> Identity:
        found = self._policy.keys.find(key) if self._policy.keys is not None else None
        if found is None:
            raise _refused("no such API key, or it has expired")
        return found

    async def _signed(self, connection: HTTPConnection, credentials: str) -> Identity:
        if self._signatures is None or not isinstance(connection, Request):
            raise _refused("signatures are not taken here")
        unproven = Held(self._unproven, 0)
        try:
            self._signatures.check_form(credentials)
            body = await bodies.read(self._host, connection, connection.state.held, unproven)
            connection.state.body = body
            self._signatures.check(credentials, connection.method, _target(connection), bytes(body))
        except SignatureRefused as error:
            raise _refused(str(error)) from None
        finally:
            unproven.release()
        return SECRET

    async def _count(self, connection: HTTPConnection, identity: Identity) -> Standing | None:
        if identity is KEYLESS:
            return await self._count_stranger(connection)
        return await self._host.limits.admit(identity)

    async def _count_stranger(self, connection: HTTPConnection) -> Standing | None:
        return await self._host.limits.admit_stranger(counted_as(connection.state.client_address))


def admission(host: Host, connection: HTTPConnection) -> Callable[[Identity], Awaitable[None]]:
    """Counts each request that comes by one connection as one over HTTP would be: by its address, and by
    whoever asks. What it answers raises rate_limited. The connection's answer tells how the limit stands
    after the last of them.
    """
    address = counted_as(connection.state.client_address)

    async def count(identity: Identity) -> Standing | None:
        of_address = await host.limits.admit_address(address)
        known = identity is not KEYLESS
        own = await (host.limits.admit(identity) if known else host.limits.admit_stranger(address))
        return own or of_address

    async def admit(identity: Identity) -> None:
        try:
            standing = await count(identity)
        except RpcError as error:
            connection.state.standing = standing_of(error)
            raise
        if standing is not None:
            connection.state.standing = standing

    return admit


def _unproven_limit(host: Host) -> int:
    """How many of the bytes that the host may hold may be bodies whose signature is not checked yet: a
    quarter, but always one body.
    """
    return max(host.budget.limit // 4, host.settings.max_frame_in)


def shows_credentials(connection: HTTPConnection, key_header: str) -> bool:
    """Whether it carries anything that is to say who asks."""
    return any(_values(connection, "authorization") + _values(connection, key_header))


def _values(connection: HTTPConnection, name: str) -> list[str]:
    """The white space around a value is no part of it (RFC 9110, 5.5); the parser leaves some behind."""
    return [value.strip(" \t") for value in connection.headers.getlist(name)]


def _refused(problem: str) -> RpcError:
    return errors.unauthenticated(_SCHEME, "", problem)


def _target(connection: HTTPConnection) -> str:
    """The path and query as they were sent."""
    path: bytes = connection.scope["raw_path"]
    query: bytes = connection.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _from_this_machine(connection: HTTPConnection) -> bool:
    """Whether it comes from this machine, and not through a proxy on it."""
    forwarded = any(name in connection.headers for name in _FORWARDED)
    return not forwarded and is_loopback(connection.state.client_address)
