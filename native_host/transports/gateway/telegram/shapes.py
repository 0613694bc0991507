"""What Telegram sends and takes, as far as this bot reads it (https://core.telegram.org/bots/api). Members
that are not named here are ignored, whatever later versions of the Bot API add.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType, field


class User(Struct, kw_only=True):
    """Somebody who writes, or a bot."""

    id: int
    is_bot: bool = False
    username: str | None = None


class Chat(Struct, kw_only=True):
    """A conversation: `type` is private, group, supergroup, channel, or what may come."""

    id: int
    type: str


class Entity(Struct, kw_only=True):
    """A marked part of a text, in UTF-16 code units."""

    type: str
    offset: int
    length: int
    user: User | None = None


class RepliedTo(Struct, kw_only=True):
    """The message that another one answers."""

    sender: User | None = field(name="from", default=None)


class Message(Struct, kw_only=True):
    """A message: text, or one of the other kinds of content, or news about the chat (none of them)."""

    message_id: int
    chat: Chat
    sender: User | None = field(name="from", default=None)
    text: str | None = None
    entities: list[Entity] = []
    caption: str | None = None
    caption_entities: list[Entity] = []
    reply_to_message: RepliedTo | None = None
    message_thread_id: int | None = None
    is_topic_message: bool = False
    animation: Any = None
    audio: Any = None
    contact: Any = None
    dice: Any = None
    document: Any = None
    location: Any = None
    photo: Any = None
    poll: Any = None
    sticker: Any = None
    story: Any = None
    venue: Any = None
    video: Any = None
    video_note: Any = None
    voice: Any = None

    @property
    def has_other_content(self) -> bool:
        """Whether it holds something that is neither text nor news about the chat."""
        return any(getattr(self, name) is not None for name in _OTHER_CONTENT)


_OTHER_CONTENT = (
    "animation",
    "audio",
    "contact",
    "dice",
    "document",
    "location",
    "photo",
    "poll",
    "sticker",
    "story",
    "venue",
    "video",
    "video_note",
    "voice",
)


class CallbackQuery(Struct, kw_only=True):
    """Somebody pressed a button."""

    id: str


class Update(Struct, kw_only=True):
    """What a webhook is called with. Posts of channels are read, and answered by nothing."""

    update_id: int
    message: Message | None = None
    edited_message: Message | None = None
    channel_post: Message | None = None
    edited_channel_post: Message | None = None
    callback_query: CallbackQuery | None = None


class ReplyParameters(Struct, kw_only=True):
    """Which message is answered; it may be gone by then."""

    message_id: int
    allow_sending_without_reply: bool = True


class SendMessage(Struct, kw_only=True):
    """The call `sendMessage`, as the answer to an update."""

    chat_id: int
    text: str
    message_thread_id: int | UnsetType = UNSET
    reply_parameters: ReplyParameters | UnsetType = UNSET
    method: Literal["sendMessage"] = "sendMessage"


class AnswerCallbackQuery(Struct, kw_only=True):
    """The call `answerCallbackQuery`: a line that is shown to who pressed the button."""

    callback_query_id: str
    text: str
    method: Literal["answerCallbackQuery"] = "answerCallbackQuery"


class Nothing(Struct, kw_only=True):
    """No call: the update is taken, and there is nothing to say."""


Reply = SendMessage | AnswerCallbackQuery | Nothing
