"""The life of a connection before it may ask for anything: `initialize`, then `authenticate` where it is
required.

A state machine over plain values: it sends nothing and sees no transport. The clock and the source of random
bytes are given to it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import msgspec

from native_host.guard.grants import GrantFileError, Grants, way_out
from native_host.guard.identity import LOCAL, SECRET, for_origin
from native_host.guard.keys import KeyStore
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.limits import (
    MAX_AUTH_FAILURES,
    NONCE_BYTES,
    NONCE_LIFETIME_S,
    PROTOCOL_VERSION,
)
from native_host.protocol.mac import CLIENT_LABEL, HOST_LABEL, mac_of
from native_host.protocol.messages import AuthenticateParams, AuthenticateResult, AuthInfo
from native_host.protocol.methods import METHODS

HMAC_SCHEME = "hmac-sha256"
KEY_SCHEME = "api_key"
ORIGIN = "origin"
"""Told as the missing scope where it is not one of a key's that is missing, but leave to come at all."""
_MOST_DIGITS = 9
"""Of a version: a number of thousands of digits is an error to convert."""


class TelegramAccess(msgspec.Struct, frozen=True):
    """`secret` is what Telegram shows when it calls the webhook; `token` lets the host call Telegram."""

    secret: bytes
    token: str | None = None

    def __repr__(self) -> str:
        return "TelegramAccess(…)"  # never into a log


class AuthPolicy:
    """What a peer may prove itself with: a shared secret, API keys, both, or (None and None) nothing at
    all.

    `own_keys` are the user's, known to transports that ask everybody who they are: that there are some does
    not close the connections of the user's own processes, as `keys` does. `telegram` is for its webhook only.

    `grants` say what extensions may do that need not prove anything; without, they may do nothing.
    """

    def __init__(
        self,
        secret: bytes | None = None,
        keys: KeyStore | None = None,
        own_keys: KeyStore | None = None,
        telegram: TelegramAccess | None = None,
        grants: Grants | None = None,
    ) -> None:
        self.secret = secret
        self.keys = keys
        self.own_keys = own_keys
        self.telegram = telegram
        self.grants = grants or Grants(None)

    @property
    def required(self) -> bool:
        """Whether a peer of a connection must prove anything."""
        return self.secret is not None or self.keys is not None

    def for_strangers(self) -> AuthPolicy:
        """The policy of transports that anybody can reach: everybody must prove something, if only there were
        a key.
        """
        return AuthPolicy(self.secret, self.keys or self.own_keys or KeyStore(), grants=self.grants)

    @property
    def nothing_to_show(self) -> bool:
        """Whether there is no secret, and no key yet, that a stranger could prove anything with."""
        keys = self.keys or self.own_keys
        return self.secret is None and (keys is None or not keys.stored())

    @property
    def schemes(self) -> list[str]:
        """The names of the ways that are open, the stronger one first."""
        return [HMAC_SCHEME] * (self.secret is not None) + [KEY_SCHEME] * (self.keys is not None)


class Handshake:
    """One connection's state. `identity` is None until the peer may call everything.

    `known` is who the peer is where the transport has found that out already: it need not prove it again.
    """

    def __init__(
        self,
        policy: AuthPolicy,
        clock: Callable[[], float] = time.monotonic,
        random_bytes: Callable[[int], bytes] = os.urandom,
        *,
        known: Identity | None = None,
    ) -> None:
        self.initialized = False
        self._known = known
        self.identity: Identity | None = None
        self.failures = 0
        self._policy = policy
        self._clock = clock
        self._random_bytes = random_bytes
        self._nonce: tuple[bytes, float] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the connection has failed to authenticate too often and must be closed."""
        return self.failures >= MAX_AUTH_FAILURES

    @property
    def trusted(self) -> bool:
        """Whether the peer is known to be more than an extension of a browser's."""
        found = self.identity or self._known
        return found is not None and found.kind != "origin"

    def check(self, method: str) -> None:
        """Raise not_initialized, unauthenticated or invalid_request if `method` may not be called now."""
        if self.exhausted:  # the rest of what had been sent at once must not be a fourth guess
            raise self._unauthenticated("too many failures")
        known = METHODS.get(method)
        if method == "initialize":
            if self.initialized:
                raise errors.invalid_request("initialize was called before")
        elif known is not None and known.before_initialize:
            return
        elif not self.initialized:
            raise errors.not_initialized(method)
        elif method != "authenticate" and self.identity is None:
            raise self._unauthenticated("authenticate first")
        elif self.identity is not None and self.identity.kind == "origin":
            self._check_grant(self.identity.name, known.scope if known is not None else None)

    def check_scope(self, scope: str | None) -> Identity:
        """Who asks. Raises permission_denied if that peer may not use what `scope` stands for."""
        self._check_key()
        if self.identity is None:
            raise self._unauthenticated("authenticate first")
        if scope is not None and not self.identity.may(scope):
            raise errors.permission_denied(scope, _more_words(self.identity, scope))
        return self.identity

    def initialize(self, version: str, origin: str | None) -> AuthInfo:
        """Open the connection. Raises unsupported_protocol for another major version."""
        _check_version(version)
        self.initialized = True
        if self._known is not None:
            self.identity = self._known
            return AuthInfo(required=False, schemes=[])
        if not self._policy.required:
            self.identity = for_origin(origin) if origin else LOCAL  # its grant is looked at for each request
            return AuthInfo(required=False, schemes=[])
        return AuthInfo(required=True, schemes=self._policy.schemes, nonce=self._current_nonce().hex())

    def authenticate(self, params: AuthenticateParams) -> AuthenticateResult:
        """Let the peer prove who it is. Raises unauthenticated, with a new nonce, where it does not."""
        if not self._policy.required or self.identity is not None:
            raise errors.invalid_request("there is nothing to authenticate")
        if params.api_key is not None and params.mac is None and params.client_nonce is None:
            return self._by_key(params.api_key)
        if params.mac is not None and params.client_nonce is not None and params.api_key is None:
            return self._by_secret(bytes.fromhex(params.client_nonce), bytes.fromhex(params.mac))
        raise errors.invalid_params("", "either client_nonce and mac, or api_key")

    def _check_key(self) -> None:
        """A key that was revoked, has expired, or stands for something else now does so for this connection
        too.
        """
        identity, keys = self.identity, self._policy.keys
        if identity is None or identity.kind != "api_key" or keys is None:
            return
        self.identity = keys.still(identity)
        if self.identity is None:
            raise self._unauthenticated("this API key was revoked or has expired")

    def _check_grant(self, origin: str, scope: str | None) -> None:
        """What the origin was granted is looked at for every request. Raises permission_denied where that is
        nothing.
        """
        try:
            self.identity = self._policy.grants.identity(origin)
        except GrantFileError as error:
            problem = (
                "the host's file of grants is not sound; `native-host doctor` says what is wrong with it"
            )
            raise errors.permission_denied(scope or ORIGIN, problem) from error
        if not self.identity.scopes:
            problem = f"{origin} may not use this host; {way_out(origin)} allows it"
            raise errors.permission_denied(scope or ORIGIN, problem)

    def _by_key(self, api_key: str) -> AuthenticateResult:
        found = self._policy.keys.find(api_key) if self._policy.keys is not None else None
        if found is None:
            raise self._failed("no such API key")
        self.identity = found
        return AuthenticateResult()

    def _by_secret(self, client_nonce: bytes, mac: bytes) -> AuthenticateResult:
        import hmac

        nonce = self._take_nonce()
        if self._policy.secret is None or nonce is None:
            raise self._failed("the nonce has expired" if self._policy.secret else "no secret is set here")
        expected = mac_of(self._policy.secret, CLIENT_LABEL, nonce, client_nonce)
        if not hmac.compare_digest(expected, mac):
            raise self._failed("the mac is wrong")
        self.identity = SECRET
        proof = mac_of(self._policy.secret, HOST_LABEL, client_nonce, nonce)
        return AuthenticateResult(mac=proof.hex())

    def _failed(self, problem: str) -> RpcError:
        self.failures += 1
        self._nonce = None
        return self._unauthenticated(problem)

    def _unauthenticated(self, problem: str) -> RpcError:
        return errors.unauthenticated(self._policy.schemes[0], self._current_nonce().hex(), problem)

    def _current_nonce(self) -> bytes:
        """The nonce that is valid now; a new one if there is none."""
        now = self._clock()
        if self._nonce is None or now >= self._nonce[1]:
            self._nonce = (self._random_bytes(NONCE_BYTES), now + NONCE_LIFETIME_S)
        return self._nonce[0]

    def _take_nonce(self) -> bytes | None:
        """Use the nonce up; None if it had expired."""
        held, self._nonce = self._nonce, None
        return held[0] if held is not None and self._clock() < held[1] else None


def _more_words(identity: Identity, scope: str) -> str | None:
    """What an extension is told beyond the scope that it lacks."""
    if identity.kind != "origin":
        return None
    return f"{identity.name} may not: {scope}; {way_out(identity.name, scope)} allows it"


def _check_version(version: str) -> None:
    major = version.split(".")[0]
    if major == PROTOCOL_VERSION:
        return
    number = len(major) <= _MOST_DIGITS and major.isascii() and major.isdigit()
    newer = number and int(major) > int(PROTOCOL_VERSION)
    raise errors.unsupported_protocol(version, [PROTOCOL_VERSION], "this host" if newer else "the client")
