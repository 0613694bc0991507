"""Telegram proves itself by a secret in a header of its own. Without one there is no webhook."""

from __future__ import annotations

import hmac

from starlette.requests import HTTPConnection

from native_host.guard.addresses import counted_as
from native_host.protocol import errors
from native_host.protocol.identity import Identity
from native_host.transports.host import Host

TELEGRAM = "telegram"
"""The name of this way to prove oneself."""

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
WEBHOOK = Identity("telegram", "webhook", frozenset())
"""Telegram itself. Each chat is somebody of its own."""


class TelegramAuthentication:
    """Lets in who shows the webhook's secret. Raises method_not_found where there is none, unauthenticated,
    and rate_limited for addresses that try wrong ones.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    async def __call__(self, connection: HTTPConnection) -> Identity:
        """Telegram, or nobody."""
        access = self._host.policy.telegram
        if access is None:
            raise errors.method_not_found(f"POST {connection.url.path}")
        shown = [value.encode("latin-1") for value in connection.headers.getlist(SECRET_HEADER)]
        if len(shown) == 1 and hmac.compare_digest(shown[0], access.secret):
            return WEBHOOK
        self._host.log.warning("authentication.failed", connection="telegram")
        await self._host.limits.admit_stranger(counted_as(connection.state.client_address))
        raise errors.unauthenticated(TELEGRAM, "", f"give the webhook's secret in {SECRET_HEADER}")
