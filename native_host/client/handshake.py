"""The client's half of the handshake, as a generator of requests: each face drives it in its own way.

The host proves that it knows the secret too, so that a process in the host's place learns nothing and is
not believed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Generator

import msgspec

from native_host import __version__
from native_host.client.errors import HandshakeError
from native_host.protocol.limits import NONCE_BYTES, PROTOCOL_VERSION
from native_host.protocol.mac import CLIENT_LABEL, HOST_LABEL, mac_of
from native_host.protocol.messages import InitializeResult

Steps = Generator[tuple[str, dict[str, object]], bytes, InitializeResult]
"""Yields (method, params), is sent the result's JSON, returns what the host said about itself."""


def introduce(name: str, max_frame_in: int, secret: bytes | None, api_key: str | None) -> Steps:
    """`initialize`, then `authenticate` as far as the caller has something to show.

    Raises `HandshakeError` where the host speaks another version, asks for what the caller has not, or does
    not know the secret.
    """
    client = {"name": name, "version": __version__, "max_frame_in": max_frame_in}
    answer = yield "initialize", {"protocol_version": PROTOCOL_VERSION, "client": client}
    host = msgspec.json.decode(answer, type=InitializeResult)
    _check_version(host.protocol_version)
    if secret is not None:
        yield from _prove_secret(secret, host.auth.nonce)
    elif api_key is not None and host.auth.required:
        yield "authenticate", {"api_key": api_key}
    elif host.auth.required:
        raise HandshakeError(f"the host wants to know who asks; it takes: {', '.join(host.auth.schemes)}")
    return host


def _check_version(spoken: str) -> None:
    """Hosts refuse versions that they do not speak; this is for one that answers nonetheless."""
    if spoken.split(".")[0] != PROTOCOL_VERSION:
        raise HandshakeError(
            f"the host speaks protocol version {spoken!r}, this program {PROTOCOL_VERSION!r}:"
            " update the older of the two"
        )


def _prove_secret(secret: bytes, nonce: str | None) -> Generator[tuple[str, dict[str, object]], bytes, None]:
    if nonce is None:
        raise HandshakeError("a secret was given, but the host was started without one")
    theirs, ours = bytes.fromhex(nonce), secrets.token_bytes(NONCE_BYTES)
    mac = mac_of(secret, CLIENT_LABEL, theirs, ours)
    answer = yield "authenticate", {"client_nonce": ours.hex(), "mac": mac.hex()}
    shown = msgspec.json.decode(answer, type=dict[str, str]).get("mac", "")
    expected = mac_of(secret, HOST_LABEL, ours, theirs).hex()
    if not hmac.compare_digest(shown.encode(), expected.encode()):
        raise HandshakeError(
            "the host did not prove that it knows the secret; it is not the one that was expected"
        )
