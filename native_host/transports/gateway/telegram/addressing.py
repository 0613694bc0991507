"""Whether a message is for this bot, and what of it is. In groups only commands, mentions and replies are."""

from __future__ import annotations

import re

from msgspec import Struct

from native_host.transports.gateway.telegram.shapes import Entity, Message, User

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]{1,64}))?(?:\s+|$)")


class Bot(Struct, frozen=True):
    """Who this bot is, as far as that is known: its username without the @, and its id."""

    username: str | None = None
    id: int | None = None

    def is_named(self, name: str) -> bool:
        """Whether this is its username."""
        return self.username is not None and name.lower() == self.username.lower()

    def is_user(self, user: User) -> bool:
        """Whether it is this one."""
        if self.id is not None:
            return user.id == self.id
        # By default Telegram shows a bot no replies to other bots.
        return user.is_bot and (self.username is None or self.is_named(user.username or ""))


class Asked(Struct, frozen=True):
    """What somebody wants of the bot: a command with what stands behind it, or something to answer."""

    text: str
    command: str | None = None


def asked_of(bot: Bot, message: Message) -> Asked | None:
    """What of a message is for this bot; None where nothing is."""
    text = message.text or ""
    command = _COMMAND.match(text)
    if command is not None:
        name = command.group(2)
        if name is not None and bot.username is not None and not bot.is_named(name):
            return None
        return Asked(text[command.end() :].strip(), command.group(1).lower())
    if message.chat.type == "private":
        return Asked(text)
    mentions = [entity for entity in _entities(message) if _is_mention(bot, message, entity)]
    replied_to = message.reply_to_message.sender if message.reply_to_message is not None else None
    if mentions or (replied_to is not None and bot.is_user(replied_to)):
        return Asked(_without_mention(bot, text))
    return None


def _entities(message: Message) -> list[Entity]:
    return message.entities if message.text is not None else message.caption_entities


def _is_mention(bot: Bot, message: Message, entity: Entity) -> bool:
    if entity.type == "text_mention":
        return entity.user is not None and bot.is_user(entity.user)
    if entity.type != "mention":
        return False
    units = (message.text or message.caption or "").encode("utf-16-le", "surrogatepass")
    begin, end = 2 * entity.offset, 2 * (entity.offset + entity.length)
    return bot.is_named(units[begin:end].decode("utf-16-le", "replace").removeprefix("@"))


def _without_mention(bot: Bot, text: str) -> str:
    """The text without the bot's name at its beginning or end, where that is only to call it."""
    if bot.username is None:
        return text.strip()
    name = "@" + re.escape(bot.username)
    return re.sub(rf"^\s*{name}\b[\s,:]*|[\s,]*{name}\s*$", "", text, flags=re.IGNORECASE).strip()
