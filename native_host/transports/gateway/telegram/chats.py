"""What the bot says in a chat: commands, and answers of models. Each chat has a session of the host."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from native_host.protocol import messages as wire
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.store import Store
from native_host.transports.gateway.telegram.addressing import Asked

Call = Callable[[Identity, str, wire.Params], Awaitable[Any]]
"""Calls a method of the host for somebody. Raises RpcError."""

HELP = (
    "Write to me, and a model on a computer of its own answers.\n\n"
    "/model – which models there are, and which one answers\n"
    "/model NAME – let that one answer, in a new conversation\n"
    "/reset – forget this conversation\n"
    "/more – the rest of a long answer\n"
    "/help – this text"
)
_OWNER = "telegram chats"
_KEPT_S = 30 * 24 * 3600.0
_SAYS_WHY = (
    "content_rejected",
    "input_too_long",
    "model_not_found",
    "overloaded",
    "permission_denied",
    "quota_exceeded",
    "rate_limited",
)
"""Errors whose words are for whoever asked. Others tell of this machine."""


class Chat(msgspec.Struct, frozen=True):
    """A conversation: a chat, which is counted as one (`who`), or a topic of it."""

    who: Identity
    topic: int | None = None

    @property
    def key(self) -> str:
        """A name that no other conversation has."""
        return self.who.name if self.topic is None else f"{self.who.name}:{self.topic}"


class ChatState(msgspec.Struct, omit_defaults=True):
    """What is kept of a conversation beside its session. `unsent` is the rest of its last answer."""

    session: str | None = None
    model: str | None = None
    unsent: str = ""


class Chats:
    """Answers what chats ask. `store` is where their states are kept."""

    def __init__(self, call: Call, store: Store) -> None:
        self._call = call
        self._store = store

    async def answer(self, chat: Chat, asked: Asked) -> str:
        """What the bot says, of whatever length. Raises shutting_down; other errors are told in words."""
        try:
            if asked.command is not None:
                return await self._command(chat, asked.command, asked.text)
            if not asked.text:
                return "What would you like to know?"
            return await self._chat(chat, asked.text)
        except RpcError as error:
            if error.kind == "shutting_down":
                raise
            return _in_words(error)

    async def keep_unsent(self, chat: Chat, unsent: str) -> None:
        """Keep what `/more` will say."""
        state = await self._state(chat)
        state.unsent = unsent
        await self._keep(chat, state)

    async def _command(self, chat: Chat, command: str, argument: str) -> str:
        if command in ("start", "help"):
            return HELP
        if command == "reset":
            await self._forget(chat)
            return "Forgotten. A new conversation begins."
        if command == "more":
            return (await self._state(chat)).unsent or "There is nothing more."
        if command == "model":
            return await (self._choose(chat, argument) if argument else self._models(chat))
        return f"I know no /{command}. /help says what I know."

    async def _models(self, chat: Chat) -> str:
        listed: list[wire.ModelListing] = await self._call(chat.who, "models.list", wire.NoParams())
        chosen = (await self._state(chat)).model or chat.who.model
        names = [
            f"{'→' if model.name == chosen or (chosen is None and model.default) else '·'} {model.name}"
            for model in listed
            if "chat" in model.capabilities or not model.capabilities
        ]
        return "\n".join([*names, "", "/model NAME lets another one answer."])

    async def _choose(self, chat: Chat, model: str) -> str:
        session = await self._session(chat, model)
        await self._forget(chat)
        await self._keep(chat, ChatState(session, model))
        return f"{model} answers from now on. A new conversation begins."

    async def _chat(self, chat: Chat, text: str) -> str:
        state = await self._state(chat)
        state.unsent = ""
        if state.session is None:
            state.session = await self._session(chat, state.model)
            await self._keep(chat, state)
        try:
            result = await self._ask(chat, state, text)
        except RpcError as error:
            if error.kind != "session_not_found":
                raise
            state.session = await self._session(chat, state.model)
            result = await self._ask(chat, state, text)
        await self._keep(chat, state)
        return result.message.content.strip() or "(The model said nothing.)"

    async def _ask(self, chat: Chat, state: ChatState, text: str) -> wire.ChatResult:
        message = wire.ChatMessage(role="user", content=text)
        params = wire.ChatParams(messages=[message], session=state.session, model=state.model)
        result: wire.ChatResult = await self._call(chat.who, "chat", params)
        return result

    async def _session(self, chat: Chat, model: str | None) -> str:
        params = wire.SessionsCreateParams(model=model)
        made: wire.SessionsCreateResult = await self._call(chat.who, "sessions.create", params)
        return made.session

    async def _forget(self, chat: Chat) -> None:
        """The conversation; which model answers stays."""
        state = await self._state(chat)
        if state.session is not None:
            with contextlib.suppress(RpcError):  # it may be forgotten already
                await self._call(chat.who, "sessions.delete", wire.SessionParams(session=state.session))
        await self._keep(chat, ChatState(model=state.model))

    async def _state(self, chat: Chat) -> ChatState:
        kept = await self._store.get(_OWNER, chat.key)
        return ChatState() if kept is None else msgspec.json.decode(kept, type=ChatState)

    async def _keep(self, chat: Chat, state: ChatState) -> None:
        await self._store.set(_OWNER, chat.key, msgspec.json.encode(state), _KEPT_S)


def _in_words(error: RpcError) -> str:
    if error.kind in _SAYS_WHY:
        return error.message[:1].upper() + error.message[1:] + "."
    if error.kind == "timeout":
        return "That took too long, and I gave up. A shorter question may help."
    return "Something is wrong with me at the moment. Please try again later."
