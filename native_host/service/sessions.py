"""`sessions.*`, and `chat` in a session: the host keeps what was said, so that a chat sends only what is new.

A chat is kept when its answer is complete. One that fails or is cancelled leaves the session as it was. Chats
in one session come one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from weakref import WeakValueDictionary

from msgspec.structs import replace

from native_host.models.manager import ModelManager
from native_host.protocol import errors
from native_host.protocol.messages import (
    ChatMessage,
    ChatParams,
    ChatResult,
    NoParams,
    SessionListing,
    SessionParams,
    SessionsCreateParams,
    SessionsCreateResult,
    SessionsGetResult,
)
from native_host.service import session_log
from native_host.service.context import RequestContext
from native_host.service.conversation import conversation, is_whole
from native_host.service.fitting import Window, fit
from native_host.service.prompts import Prompts
from native_host.service.session_log import Exchange, Head, SessionLog
from native_host.store import Store, TooLarge

_ANSWERING_S = 3600.0
"""How long a session is kept at least while a chat in it is answered, in seconds."""

Chat = Callable[[ChatParams, RequestContext], Awaitable[ChatResult]]


class SessionsService:
    """Handlers for sessions; `chat` answers a conversation that is given as a whole."""

    def __init__(
        self, manager: ModelManager, store: Store, chat: Chat, prompts: Prompts | None = None
    ) -> None:
        self._prompts = prompts or Prompts(manager)
        self._manager = manager
        self._store = store
        self._chat = chat
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def create(self, params: SessionsCreateParams, context: RequestContext) -> SessionsCreateResult:
        """Begin one. Raises model_not_found."""
        if params.model is not None:
            self._manager.registry.resolve(params.model)
        name = secrets.token_urlsafe(16)
        head = Head(time.time(), params.ttl_s, params.model, params.system)
        with _length_told():
            await self._store.set(context.identity.owner, name, session_log.line(head), params.ttl_s)
        return SessionsCreateResult(session=name)

    async def get(self, params: SessionParams, context: RequestContext) -> SessionsGetResult:
        """What was said. Raises session_not_found."""
        log = await self._read(context.identity.owner, params.session)
        head = log.head
        return SessionsGetResult(
            session=params.session,
            created_at=head.created_at,
            ttl_s=head.ttl_s,
            model=head.model,
            system=head.system,
            messages=log.messages,
            left_out=log.left_out,
        )

    async def list(self, params: NoParams, context: RequestContext) -> list[SessionListing]:
        """Those of whoever asks."""
        owner = context.identity.owner
        listed = []
        for name in await self._store.keys(owner):
            stored = await self._store.get(owner, name)
            if stored is None:
                continue
            log = session_log.read(stored)
            head = log.head
            listed.append(
                SessionListing(
                    session=name,
                    created_at=head.created_at,
                    ttl_s=head.ttl_s,
                    model=head.model,
                    system=head.system,
                    messages=len(log.messages),
                )
            )
        return listed

    async def delete(self, params: SessionParams, context: RequestContext) -> None:
        """Forget one. Raises session_not_found."""
        if not await self._store.delete(context.identity.owner, params.session):
            raise errors.session_not_found(params.session)

    async def chat(self, params: ChatParams, context: RequestContext) -> ChatResult:
        """Answer a conversation, or go on with that of a session. Raises session_not_found, input_too_long
        where the session has no room for more, and what chatting raises.
        """
        if params.session is None:
            return await self._chat(params, context)
        conversation(params.messages)  # complaints name the messages as the peer numbers them
        owner, name = context.identity.owner, params.session
        async with self._turn(owner, name):
            log = await self._read(owner, name, _ANSWERING_S)
            try:
                return await self._go_on(params, context, log, owner, name)
            finally:
                await self._store.expire(owner, name, log.head.ttl_s)

    async def _go_on(
        self, params: ChatParams, context: RequestContext, log: SessionLog, owner: str, name: str
    ) -> ChatResult:
        asked = replace(params, session=None, model=params.model or log.head.model)
        window = await self._window(asked, context, log)
        result = await self._chat(replace(asked, messages=window.messages), context)
        answer = ChatMessage(
            role="assistant",
            content=result.message.content,
            reasoning=result.message.reasoning,
            tool_calls=[call for call in result.message.tool_calls or () if is_whole(call)] or None,
        )
        exchange = Exchange([*params.messages, answer], window.left_out)
        with _length_told():
            kept = await self._store.append(owner, name, session_log.line(exchange), at=log.size)
        if not kept:
            there = await self._store.get(owner, name) is not None
            raise errors.session_busy(name) if there else errors.session_not_found(name)
        load_ms = window.load_ms + (result.timings.load_ms or 0.0)
        return replace(
            result, left_out=window.left_out, timings=replace(result.timings, load_ms=round(load_ms, 3))
        )

    async def _window(self, asked: ChatParams, context: RequestContext, log: SessionLog) -> Window:
        system = log.head.system
        if system is None:
            return await fit(self._manager, asked, log.messages, log.left_out, context, self._prompts)
        if any(message.role == "system" for message in asked.messages):
            raise errors.invalid_params("messages", "the session has a system message of its own")
        said = [ChatMessage(role="system", content=system), *log.messages]
        window = await fit(self._manager, asked, said, log.left_out + 1, context, self._prompts)
        return replace(window, left_out=window.left_out - 1)

    async def _read(self, owner: str, name: str, keep_s: float = 0.0) -> SessionLog:
        """The session, which is kept for its time, or `keep_s` if that is longer, from now on."""
        stored = await self._store.get(owner, name)
        if stored is None:
            raise errors.session_not_found(name)
        log = session_log.read(stored)
        await self._store.expire(owner, name, max(log.head.ttl_s, keep_s))
        return log

    @contextlib.asynccontextmanager
    async def _turn(self, owner: str, name: str) -> AsyncIterator[None]:
        """Wait until the chats that came before have ended."""
        turn = self._turns.setdefault((owner, name), asyncio.Lock())
        async with turn:
            yield


@contextlib.contextmanager
def _length_told() -> Iterator[None]:
    """Turn a session that is too long for the store into an error for the peer."""
    try:
        yield
    except TooLarge as error:
        raise errors.input_too_long(error.limit, bytes_=error.size) from None
