"""The route: an update in, one call of the Bot API out."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from native_host.guard.identity import for_chat
from native_host.protocol import errors
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.dialects import OWN
from native_host.transports.gateway.gateway import Gateway, client_left
from native_host.transports.gateway.operations import Operation, add
from native_host.transports.gateway.telegram.addressing import Asked, Bot, asked_of
from native_host.transports.gateway.telegram.authentication import TELEGRAM, TelegramAuthentication
from native_host.transports.gateway.telegram.bot_api import BotApi
from native_host.transports.gateway.telegram.chats import Chat, Chats
from native_host.transports.gateway.telegram.once import Once
from native_host.transports.gateway.telegram.shapes import (
    AnswerCallbackQuery,
    Message,
    Nothing,
    Reply,
    ReplyParameters,
    SendMessage,
    Update,
)
from native_host.transports.gateway.telegram.splitting import MESSAGE_LIMIT, split
from native_host.transports.host import Host

PATH = "/api/v1/webhooks/telegram"
_JSON = "application/json"
_MORE = "\n\n(/more has the rest)"
_EXAMPLE = {
    "update_id": 10000,
    "message": {
        "message_id": 1365,
        "date": 1441645532,
        "chat": {"id": 1111111, "type": "private", "first_name": "Ann"},
        "from": {"id": 1111111, "is_bot": False, "first_name": "Ann"},
        "text": "/help",
    },
}


def router(gateway: Gateway) -> APIRouter:
    """The route. It is there where a secret is set."""
    routes = gateway.router_for(TelegramAuthentication(gateway.host), (TELEGRAM,), OWN)
    webhook = Webhook(gateway)

    async def telegram(request: Request) -> Response:
        """Take an update of Telegram's, and answer with what the bot says."""
        update = await gateway.body(request, Update)
        return await webhook.take(update, request)

    operation = Operation(
        body=Update,
        answer=(SendMessage, AnswerCallbackQuery, Nothing),
        answered=SendMessage(chat_id=1111111, text="Write to me, and a model answers."),
        example=_EXAMPLE,
    )
    add(routes, PATH, telegram, operation)
    return routes


class Webhook:
    """Answers updates. Errors are told in the chat; only one that calls for another attempt is one over
    HTTP.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._host = gateway.host
        self._settings = gateway.host.settings
        self._chats = Chats(gateway.call_for, gateway.host.store)
        self._once = Once(gateway.host.store)
        self._api = _bot_api(gateway.host)
        if self._api is not None:
            gateway.at_close(self._api.close)
        self._bot: Bot | None = None
        self._allowed = {part.strip() for part in self._settings.telegram_chats.split(",") if part.strip()}

    async def take(self, update: Update, request: Request) -> Response:
        """The answer to an update. Raises shutting_down, upon which Telegram tries again."""

        async def work() -> bytes:
            return encode_value(await self._reply(update))

        async def gone() -> None:
            await client_left(request)

        answer = await self._once.answer(update.update_id, work, gone)
        return Response(encode_value(Nothing()) if answer is None else answer, media_type=_JSON)

    async def _reply(self, update: Update) -> Reply:
        if update.callback_query is not None:
            text = "There are no buttons here: write to me."
            return AnswerCallbackQuery(callback_query_id=update.callback_query.id, text=text)
        message = update.message or update.edited_message
        if message is None or message.sender is None or message.sender.is_bot:
            return Nothing()
        asked = asked_of(await self._this_bot(), message)
        if asked is None or (message.text is None and not message.has_other_content):
            return Nothing()
        return await self._said(message, asked)

    async def _said(self, message: Message, asked: Asked) -> Reply:
        try:
            chat = self._chat(message)
            await self._host.limits.admit(chat.who)
        except RpcError as error:
            return _message(message, error.message[:1].upper() + error.message[1:] + ".")
        if message.text is None:
            return _message(message, "I read text only. Please write what you would like to know.")
        return await self._sent(message, chat, await self._chats.answer(chat, asked))

    async def _sent(self, message: Message, chat: Chat, text: str) -> Reply:
        """Send all of a text but what the webhook's answer carries. What cannot be sent waits for /more."""
        while self._api is not None and split(text)[1]:
            part, rest = split(text)
            if not await self._api.send(_message(message, part)):
                break
            text = rest
        part, rest = split(text)
        if rest:
            part, rest = split(text, MESSAGE_LIMIT - len(_MORE))
            part += _MORE
        await self._chats.keep_unsent(chat, rest)
        return _message(message, part)

    def _chat(self, message: Message) -> Chat:
        """The chat, with the topic. All who write in it are one, whatever the topic. Raises
        permission_denied.
        """
        chat = str(message.chat.id)
        if self._allowed and chat not in self._allowed:
            raise errors.permission_denied("telegram", f"this bot is not for this chat, {chat}")
        key = None
        if self._settings.telegram_key is not None:
            keys = self._host.policy.for_strangers().keys
            key = None if keys is None else keys.named(self._settings.telegram_key)
            if key is None:
                raise errors.permission_denied("telegram", "this bot is switched off at the moment")
        return Chat(for_chat(chat, key), message.message_thread_id if message.is_topic_message else None)

    async def _this_bot(self) -> Bot:
        if self._bot is not None:
            return self._bot
        named = Bot(self._settings.telegram_bot)
        if named.username is None and self._api is not None:
            found = await self._api.me()
            if found is None:
                return named
            named = found
        self._bot = named
        return named


def _message(to: Message, text: str) -> SendMessage:
    """A message into the chat that `to` came from; among others it says which one it answers."""
    message = SendMessage(chat_id=to.chat.id, text=text)
    if to.is_topic_message and to.message_thread_id is not None:
        message.message_thread_id = to.message_thread_id
    if to.chat.type != "private":
        message.reply_parameters = ReplyParameters(message_id=to.message_id)
    return message


def _bot_api(host: Host) -> BotApi | None:
    access = host.policy.telegram
    if access is None or access.token is None:
        return None
    return BotApi(host.settings.telegram_api, access.token, host.log)
