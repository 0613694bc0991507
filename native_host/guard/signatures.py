"""Requests signed with the shared secret, for carriers that have no connection to authenticate (HTTP).

The signature covers the time, a nonce, the method, the path with its query as sent, and the body, so that
nothing of a request can be changed or sent twice. See `docs/security.md` for a worked example.
"""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable

SCHEME = "NH-HMAC-SHA256"
LABEL = "native-host/1 request"
WINDOW_S = 30
"""How far a request's time may be from the host's, in seconds, before and after."""

_MEMBERS = ("timestamp", "nonce", "signature")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NONCE = re.compile(r"[0-9a-f]{32,128}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")


class SignatureRefused(ValueError):
    """The request is not what somebody who knows the secret has signed just now; the text says why."""


class SignatureChecker:
    """Checks signatures by one secret, and remembers the nonces of the ones that were right.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock
        self._began = int(clock())
        self._seen: OrderedDict[str, int] = OrderedDict()

    def check_form(self, credentials: str) -> None:
        """Raise SignatureRefused where `credentials` cannot be right, whatever is signed."""
        self._check_time(int(_members(credentials)["timestamp"]))

    def check(self, credentials: str, method: str, target: str, body: bytes) -> None:
        """Raise SignatureRefused unless `credentials` (what follows the scheme) sign this request.

        `target` is the path with its query, as it was sent.
        """
        import hmac

        members = _members(credentials)
        timestamp, nonce = members["timestamp"], members["nonce"]
        at = int(timestamp)
        self._check_time(at)
        expected = signature_of(self._secret, timestamp, nonce, method, target, body)
        if not hmac.compare_digest(expected, members["signature"]):
            raise SignatureRefused(
                "the signature is wrong: another secret, or another method, path or body was signed"
            )
        self._use_up(nonce, at)

    def _check_time(self, at: int) -> None:
        """Whoever restarts the host must not get a second go at what was sent to the one before."""
        apart = self._clock() - at
        if abs(apart) > WINDOW_S:
            side = "old" if apart > 0 else "far ahead"
            raise SignatureRefused(
                f"the timestamp is too {side}: it may be {WINDOW_S} s from the host's time; sign again"
            )
        if at < self._began:
            raise SignatureRefused("the timestamp is from before this host began; sign again")

    def _use_up(self, nonce: str, at: int) -> None:
        """Only nonces that came with a right signature are kept, and only while their time is."""
        now = self._clock()
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        if nonce in self._seen:
            raise SignatureRefused("the nonce was used before; sign again with another")
        self._seen[nonce] = max(int(now), at) + WINDOW_S + 1


def signature_of(secret: bytes, timestamp: str, nonce: str, method: str, target: str, body: bytes) -> str:
    """Lower-case hex of HMAC-SHA256 over six lines: label, timestamp, nonce, method, target, hex SHA-256 of
    the body.
    """
    import hashlib
    import hmac

    lines = (LABEL, timestamp, nonce, method, target, hashlib.sha256(body).hexdigest())
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return hmac.digest(secret, text, "sha256").hex()


def sign(
    secret: bytes,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    timestamp: int | None = None,
    nonce: str | None = None,
) -> str:
    """The value of `Authorization` for a request. Time and nonce are the present ones unless given."""
    import secrets

    at = str(int(time.time()) if timestamp is None else timestamp)
    nonce = nonce or secrets.token_hex(16)
    signature = signature_of(secret, at, nonce, method, target, body)
    return f"{SCHEME} timestamp={at}, nonce={nonce}, signature={signature}"


def _members(credentials: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in credentials.split(","):
        name, _, value = part.strip(" ").partition("=")
        if name not in _MEMBERS or name in found:
            raise SignatureRefused(f"{SCHEME} takes timestamp, nonce and signature, each once")
        found[name] = value
    for name, form in zip(_MEMBERS, (_TIMESTAMP, _NONCE, _SIGNATURE), strict=True):
        if form.fullmatch(found.get(name, "")) is None:
            raise SignatureRefused(_WANTED[name])
    return found


_WANTED = {
    "timestamp": "timestamp must be whole seconds since 1970, in digits",
    "nonce": "nonce must be 32 to 128 lower-case hex digits",
    "signature": "signature must be 64 lower-case hex digits",
}
