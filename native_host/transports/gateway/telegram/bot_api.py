"""Calls of the Bot API, for what a webhook's answer has no room for. An address of a call holds the bot's
token, so no error of the HTTP client reaches a log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from native_host.telemetry.logs import Log
from native_host.transports.gateway.telegram.addressing import Bot
from native_host.transports.gateway.telegram.shapes import SendMessage, User

if TYPE_CHECKING:
    import httpx2

_TIMEOUT_S = 10.0
_ATTEMPTS = 4
_LONGEST_WAIT_S = 60.0
"""Whoever writes to a bot does not wait longer: /more has the rest."""
_TROUBLE_WAIT_S = 1.0
"""After the first fault of Telegram's; it doubles."""


class _Me(msgspec.Struct):
    result: User


class _Parameters(msgspec.Struct, frozen=True):
    retry_after: float | None = None


class _Refusal(msgspec.Struct):
    parameters: _Parameters = _Parameters()


class BotApi:
    """One bot. The client is made when there is something to call. `wait` takes seconds."""

    def __init__(
        self, address: str, token: str, log: Log, wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._wait = wait
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
        """What Telegram answers, as soon as it takes the call: it says when where there were too many."""
        for attempt in range(_ATTEMPTS):
            answer = await self._attempt(method, params)
            if answer is None or answer.status_code == 200:
                return None if answer is None else answer.content
            self._log.warning("telegram.refused", method=method, status=answer.status_code)
            wait_s = _wait_before_next(answer.status_code, answer.content, attempt)
            if wait_s is None or attempt + 1 == _ATTEMPTS:
                return None
            await self._wait(wait_s)
        return None

    async def _attempt(self, method: str, params: dict[str, object]) -> httpx2.Response | None:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=_TIMEOUT_S)
        try:
            return await self._client.post(f"{self._address}/{method}", json=params)
        except httpx2.HTTPError as error:
            self._log.warning("telegram.unreachable", method=method, problem=type(error).__name__)
            return None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()


def _wait_before_next(status: int, answer: bytes, attempt: int) -> float | None:
    """Seconds; None where another attempt is of no use, or would be too late."""
    if status >= 500:
        return _TROUBLE_WAIT_S * (1 << attempt)
    if status != 429:
        return None
    try:
        wait_s = msgspec.json.decode(answer, type=_Refusal).parameters.retry_after
    except msgspec.DecodeError:
        return None
    return wait_s if wait_s is not None and 0 <= wait_s <= _LONGEST_WAIT_S else None


def _bot(user: User) -> Bot:
    return Bot(user.username, user.id)
