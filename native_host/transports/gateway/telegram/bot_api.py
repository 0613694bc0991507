"""Calls of the Bot API, for what a webhook's answer has no room for. An address of a call holds the bot's
token, so no error of the HTTP client reaches a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from native_host.telemetry.logs import Log
from native_host.transports.gateway.telegram.addressing import Bot
from native_host.transports.gateway.telegram.shapes import SendMessage, User

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 10.0


class _Me(msgspec.Struct):
    result: User


class BotApi:
    """One bot. The client is made when there is something to call."""

    def __init__(self, address: str, token: str, log: Log) -> None:
        self._address = f"{address}/bot{token}"
        self._log = log
        self._client: httpx2.AsyncClient | None = None

    async def send(self, message: SendMessage) -> bool:
        """Send a message; whether Telegram took it."""
        return await self._call("sendMessage", msgspec.to_builtins(message)) is not None

    async def me(self) -> Bot | None:
        """Who the bot is."""
        answer = await self._call("getMe", {})
        try:
            return None if answer is None else _bot(msgspec.json.decode(answer, type=_Me).result)
        except msgspec.DecodeError:
            return None

    async def _call(self, method: str, params: dict[str, object]) -> bytes | None:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S)
        try:
            answer = await self._client.post(f"{self._address}/{method}", json=params)
        except httpx2.HTTPError as error:
            self._log.warning("telegram.unreachable", method=method, problem=type(error).__name__)
            return None
        if answer.status_code != 200:
            self._log.warning("telegram.refused", method=method, status=answer.status_code)
            return None
        return answer.content

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


def _bot(user: User) -> Bot:
    return Bot(user.username, user.id)
