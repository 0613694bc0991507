"""The message authentication code by which the two ends of a connection prove that they know the secret."""

from __future__ import annotations

CLIENT_LABEL = b"native-host/1 client"
HOST_LABEL = b"native-host/1 host"


def mac_of(secret: bytes, label: bytes, first_nonce: bytes, second_nonce: bytes) -> bytes:
    """HMAC-SHA256(secret, label ‖ first_nonce ‖ second_nonce), over raw bytes."""
    import hmac  # late: it costs a host without a secret a tenth of its start

    return hmac.digest(secret, label + first_nonce + second_nonce, "sha256")
