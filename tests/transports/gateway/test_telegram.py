"""Telegram's webhook: real updates in, calls of the Bot API out. The models here are toys; the last test has
real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from native_host.guard import key_file
from native_host.guard.handshake import TelegramAccess
from native_host.guard.keys import KeyStore
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Quotas
from native_host.settings import Settings
from native_host.store import MemoryStore
from native_host.telemetry.logs import Log
from native_host.transports.gateway.telegram.bot_api import BotApi
from native_host.transports.gateway.telegram.once import Once
from native_host.transports.gateway.telegram.shapes import SendMessage

from .conftest import ToyGateway
from .fake_bot_api import fake_bot_api
from .spawning import served
from .toy_chats import ToyChats

SECRET = "a-secret-of-the-webhook"
TOKEN = "7000:AAF-example_token"
PATH = "/api/v1/webhooks/telegram"
ANN = {"id": 5, "is_bot": False, "first_name": "Ann", "language_code": "en"}
DEADLINE_S = 60


class Bot:
    """Plays Telegram: sends updates, with numbers of their own, and keeps the calls that come back."""

    def __init__(self, gateway: ToyGateway, chats: ToyChats) -> None:
        self.gateway = gateway
        self.chats = chats
        self.client = httpx.AsyncClient(base_url=gateway.url, timeout=DEADLINE_S)
        self.numbers = count(1)

    async def update(self, update: dict[str, Any], number: int | None = None) -> dict[str, Any]:
        answer = await self.post({"update_id": next(self.numbers) if number is None else number, **update})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def post(self, update: object, secret: str | None = SECRET) -> httpx.Response:
        headers = {} if secret is None else {"X-Telegram-Bot-Api-Secret-Token": secret}
        return await self.client.post(PATH, json=update, headers=headers)

    async def write(self, text: str, chat: int = 5, **members: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        return await self.update({"message": message(text, chat, **members)})

    async def said(self, text: str, chat: int = 5) -> str:
        return str((await self.write(text, chat))["text"])


def message(
    text: str | None,
    chat: int = 5,
    kind: str = "private",
    **members: Any,  # noqa: ANN401 - JSON
) -> dict[str, Any]:
    """A message as Telegram sends it, with members of the future."""
    return {
        "message_id": 31,
        "date": 1794000000,
        "chat": {"id": chat, "type": kind, "first_name": "Ann", "mood_of_the_future": {"x": 1}},
        "from": ANN,
        **({} if text is None else {"text": text}),
        "new_in_bot_api_99": [1, 2],
        **members,
    }


async def opened(
    settings: Settings | None = None, token: str | None = None, keys: KeyStore | None = None
) -> tuple[ToyGateway, Bot]:
    chats = ToyChats()
    access = TelegramAccess(SECRET.encode(), token)
    gateway = ToyGateway(settings or Settings(), keys, handler=chats, telegram=access)
    await gateway.server.open()
    return gateway, Bot(gateway, chats)


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    gateway, found = await opened(Settings(telegram_bot="example_bot"))
    async with found.client:
        yield found
    await gateway.__aexit__()


async def test_an_answer_is_the_webhooks_own_reply(bot: Bot) -> None:
    assert await bot.write("hello") == {"method": "sendMessage", "chat_id": 5, "text": "0 hello"}


async def test_a_chat_is_a_conversation_and_chats_are_apart(bot: Bot) -> None:
    assert await bot.said("a") == "0 a"
    assert await bot.said("b") == "2 b"
    assert await bot.said("c", chat=6) == "0 c"
    owners = {owner for owner, _ in bot.chats.sessions}
    assert owners == {"telegram\0" + "5", "telegram\0" + "6"}


async def test_reset_forgets(bot: Bot) -> None:
    await bot.said("a")
    assert "Forgotten" in await bot.said("/reset")
    assert not bot.chats.sessions
    assert await bot.said("b") == "0 b"


async def test_a_session_that_has_ended_begins_anew(bot: Bot) -> None:
    await bot.said("a")
    bot.chats.sessions.clear()
    assert await bot.said("b") == "0 b"
    assert await bot.said("c") == "2 c"


async def test_models_are_listed_and_chosen(bot: Bot) -> None:
    assert (await bot.said("/model")).splitlines()[:2] == ["→ one", "· two"]
    assert "vectors" not in await bot.said("/model")
    assert "two answers" in await bot.said("/model two")
    assert (await bot.said("/model")).splitlines()[:2] == ["· one", "→ two"]
    await bot.said("a")
    assert bot.chats.chats[-1].model == "two"
    await bot.said("/reset")
    await bot.said("a")
    assert bot.chats.chats[-1].model == "two"
    assert await bot.said("/model three") == "No model 'three'; did you mean one?."


async def test_help_and_unknown_commands(bot: Bot) -> None:
    for command in ("/start", "/help", "/help@example_bot", "/START payload"):
        assert "/reset" in await bot.said(command)
    assert "/help" in await bot.said("/dance")
    assert not bot.chats.chats


async def test_an_edited_message_is_answered_too(bot: Bot) -> None:
    answer = await bot.update({"edited_message": message("hello", edit_date=1794000001)})
    assert answer["text"] == "0 hello"


@pytest.mark.parametrize(
    "update",
    [
        {"channel_post": message("news", kind="channel")},
        {"edited_channel_post": message("news", kind="channel")},
        {"my_chat_member": {"anything": 1}},
        {"something_of_the_future": {}},
        {"message": message(None, new_chat_title="news about the chat")},
        {"message": {**message("from a bot"), "from": {"id": 9, "is_bot": True}}},
    ],
)
async def test_what_is_not_for_a_bot_is_taken_and_not_answered(bot: Bot, update: dict[str, Any]) -> None:
    assert await bot.update(update) == {}
    assert not bot.chats.chats


async def test_a_button_is_answered(bot: Bot) -> None:
    query = {"id": "77", "from": ANN, "chat_instance": "1", "data": "x"}
    answer = await bot.update({"callback_query": query})
    assert answer["method"] == "answerCallbackQuery"
    assert answer["callback_query_id"] == "77"


@pytest.mark.parametrize("kind", ["photo", "voice", "sticker", "document", "location"])
async def test_what_is_not_text_is_answered_clearly(bot: Bot, kind: str) -> None:
    answer = await bot.update({"message": {**message(None, caption="look"), kind: {"file_id": "x"}}})
    assert "text only" in answer["text"]
    assert not bot.chats.chats


# Groups


def mention(text: str, name: str) -> dict[str, Any]:
    offset = len(text[: text.index(name)].encode("utf-16-le")) // 2
    return {"type": "mention", "offset": offset, "length": len(name)}


@pytest.mark.parametrize("kind", ["group", "supergroup"])
async def test_in_groups_only_what_is_for_the_bot_is_answered(bot: Bot, kind: str) -> None:
    assert await bot.write("hello all", -9, kind=kind) == {}
    text = "😀 hi @Example_Bot"
    answer = await bot.write(text, -9, kind=kind, entities=[mention(text, "@Example_Bot")])
    assert answer["text"] == "0 😀 hi"
    assert answer["reply_parameters"] == {"message_id": 31, "allow_sending_without_reply": True}
    other = "ask @other_bot"
    assert await bot.write(other, -9, kind=kind, entities=[mention(other, "@other_bot")]) == {}
    assert await bot.write("/help@other_bot", -9, kind=kind) == {}
    assert "/reset" in (await bot.write("/help", -9, kind=kind))["text"]
    mine = {"from": {"id": 7000, "is_bot": True, "username": "example_bot"}, "message_id": 1}
    assert (await bot.write("and you?", -9, kind=kind, reply_to_message=mine))["text"] == "2 and you?"
    anns = {"from": ANN, "message_id": 1}
    assert await bot.write("and you?", -9, kind=kind, reply_to_message=anns) == {}
    assert await bot.update({"message": message(None, -9, kind=kind, photo=[{"file_id": "x"}])}) == {}


async def test_topics_are_conversations_of_their_own(bot: Bot) -> None:
    topic: dict[str, Any] = {"kind": "supergroup", "is_topic_message": True, "message_thread_id": 4}
    text = "@example_bot a"
    topic["entities"] = [mention(text, "@example_bot")]
    answer = await bot.write(text, -9, **topic)
    assert (answer["text"], answer["message_thread_id"]) == ("0 a", 4)
    assert (await bot.write(text, -9, **topic))["text"] == "2 a"
    assert (await bot.write(text, -9, **{**topic, "message_thread_id": 5}))["text"] == "0 a"
    assert {owner for owner, _ in bot.chats.sessions} == {"telegram\0-9"}


# Long answers


def numbers(texts: list[str]) -> list[int]:
    return [int(word) for text in texts for word in text.replace("(/more has the rest)", "").split()]


async def test_the_rest_of_a_long_answer_waits_for_more(bot: Bot) -> None:
    texts = [await bot.said("long 2500")]
    while texts[-1].endswith("(/more has the rest)"):
        texts.append(await bot.said("/more"))
    assert len(texts) == 3
    assert all(len(text) <= 4096 for text in texts)
    assert numbers(texts) == list(range(2500))
    assert await bot.said("/more") == "There is nothing more."


async def test_with_a_token_all_parts_are_sent_in_order() -> None:
    with fake_bot_api() as api:
        gateway, bot = await opened(Settings(telegram_api=api.url), TOKEN)
        async with bot.client:
            last = await bot.write("long 2500")
            sent = [params for method, params in api.calls if method == "sendMessage"]
            assert numbers([*[params["text"] for params in sent], last["text"]]) == list(range(2500))
            assert {params["chat_id"] for params in sent} == {5}
            assert set(api.paths) == {f"/bot{TOKEN}/sendMessage", f"/bot{TOKEN}/getMe"}
            # It has asked for its name, by which groups call it.
            group = await bot.write("hi @example_bot", -9, kind="group", entities=[mention("hi @e", "@e")])
            assert group == {}
            text = "hi @example_bot"
            group = await bot.write(text, -9, kind="group", entities=[mention(text, "@example_bot")])
            assert group["text"] == "0 hi"
        await gateway.__aexit__()


async def test_what_telegram_does_not_take_waits_for_more() -> None:
    with fake_bot_api() as api:
        api.refusing = True
        gateway, bot = await opened(Settings(telegram_api=api.url), TOKEN)
        async with bot.client:
            texts = [await bot.said("long 2500")]
            assert texts[0].endswith("(/more has the rest)")
            api.refusing = False
            api.calls.clear()
            last = await bot.said("/more")
            texts += [params["text"] for method, params in api.calls if method == "sendMessage"]
            assert numbers([*texts, last]) == list(range(2500))
        await gateway.__aexit__()


@pytest.mark.parametrize(
    ("troubles", "waits", "taken"),
    [
        ([(429, 7.0)], [7.0], True),
        ([(429, 1.0), (429, 2.0), (502, None)], [1.0, 2.0, 4.0], True),
        ([(500, None), (503, None)], [1.0, 2.0], True),
        ([(500, None)] * 4, [1.0, 2.0, 4.0], False),
        ([(429, 3600.0)], [], False),
        ([(429, None)], [], False),
        ([(400, None)], [], False),
        ([(403, 5.0)], [], False),
    ],
)
async def test_telegram_says_when_to_come_again(
    troubles: list[tuple[int, float | None]], waits: list[float], taken: bool
) -> None:
    waited = []

    async def wait(seconds: float) -> None:
        waited.append(seconds)

    with fake_bot_api() as fake:
        fake.troubles = troubles
        api = BotApi(fake.url, TOKEN, Log("test"), wait)
        assert await api.send(SendMessage(chat_id=5, text="hello")) is taken
        assert waited == waits
        assert fake.calls == [("sendMessage", fake.calls[0][1])] * (len(waits) + 1)
        await api.close()


async def test_a_bot_api_that_cannot_be_reached_costs_no_answer() -> None:
    gateway, bot = await opened(Settings(telegram_api="http://127.0.0.1:1"), TOKEN)
    async with bot.client:
        assert (await bot.said("long 2500")).endswith("(/more has the rest)")
    await gateway.__aexit__()


# Once


async def test_an_update_is_answered_once(bot: Bot) -> None:
    assert (await bot.update({"message": message("a")}, 900))["text"] == "0 a"
    assert await bot.update({"message": message("a")}, 900) == {}
    assert len(bot.chats.chats) == 1


async def test_who_asks_again_meanwhile_gets_the_answer_that_is_being_made(bot: Bot) -> None:
    """As Telegram does after 60 s: the first request is given up, and the same update comes again."""
    update = {"update_id": 901, "message": message("wait")}
    first = asyncio.create_task(bot.post(update))
    await asyncio.wait_for(bot.chats.waiting.wait(), DEADLINE_S)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(bot.post(update))
    assert await bot.said("another chat", chat=6) == "0 another chat"
    bot.chats.go.set()
    assert (await second).json()["text"] == "0 wait"
    assert [str(chat.messages[0].content) for chat in bot.chats.chats] == ["wait", "another chat"]
    assert (await bot.post(update)).json() == {}


async def test_an_answer_that_nobody_waited_for_is_given_to_who_asks_again() -> None:
    once, go, left, works = Once(MemoryStore(1 << 20, 100, 1 << 10)), asyncio.Event(), asyncio.Event(), 0

    async def work() -> bytes:
        nonlocal works
        works += 1
        await go.wait()
        return b"answer"

    async def gone() -> None:
        await left.wait()

    async def never() -> None:
        await asyncio.Event().wait()

    first = asyncio.create_task(once.answer(1, work, gone))
    left.set()
    assert await first is None
    go.set()
    assert await once.answer(1, work, never) == b"answer"
    assert await once.answer(1, work, never) is None
    assert works == 1


async def test_an_update_whose_work_failed_can_come_again() -> None:
    once, failing = Once(MemoryStore(1 << 20, 100, 1 << 10)), True

    async def work() -> bytes:
        if failing:
            raise errors.shutting_down()
        return b"answer"

    async def never() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RpcError):
        await once.answer(1, work, never)
    failing = False
    assert await once.answer(1, work, never) == b"answer"


# Errors, limits, and who may


async def test_errors_are_told_in_the_chat_and_tell_nothing_of_this_machine(bot: Bot) -> None:
    told = await bot.said("fail")
    assert "wrong" in told
    assert "secret" not in told


async def test_each_chat_has_a_limit_of_its_own() -> None:
    gateway, bot = await opened(Settings(rate_limit=2))
    async with bot.client:
        assert [await bot.said("a"), await bot.said("b")] == ["0 a", "2 b"]
        assert "2 requests a minute" in await bot.said("c")
        assert await bot.said("a", chat=6) == "0 a"
    await gateway.__aexit__()


async def test_the_topics_of_a_chat_have_one_limit() -> None:
    gateway, bot = await opened(Settings(rate_limit=2, telegram_bot="example_bot"))
    async with bot.client:
        said = []
        for topic in (4, 5, 6):
            answer = await bot.write(
                "/help", -9, kind="supergroup", is_topic_message=True, message_thread_id=topic
            )
            said.append(answer["text"])
        assert "/reset" in said[0]
        assert "/reset" in said[1]
        assert "2 requests a minute" in said[2]
    await gateway.__aexit__()


async def test_chats_have_what_the_named_key_has(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key_file.create(file, "bot", quotas=Quotas(requests_per_minute=1), model="two")
    gateway, bot = await opened(Settings(telegram_key="bot"), keys=KeyStore(file))
    async with bot.client:
        assert (await bot.said("/model")).splitlines()[:2] == ["· one", "→ two"]
        assert "1 requests a minute" in await bot.said("b")
        key_file.revoke(file, "bot")
        assert "switched off" in await bot.said("c", chat=6)
    await gateway.__aexit__()


async def test_only_listed_chats_are_answered() -> None:
    gateway, bot = await opened(Settings(telegram_chats="5, -9"))
    async with bot.client:
        assert await bot.said("a") == "0 a"
        assert await bot.said("a", chat=6) == "This bot is not for this chat, 6."
        assert len(bot.chats.chats) == 1
    await gateway.__aexit__()


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET + "x", SECRET[:-1], "ÿ"])
async def test_nobody_else_is_let_in(bot: Bot, secret: str | None) -> None:
    headers = {} if secret is None else {b"X-Telegram-Bot-Api-Secret-Token": secret.encode("latin-1")}
    update = {"update_id": 1, "message": message("a")}
    answer = await bot.client.post(PATH, json=update, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["kind"] == "unauthenticated"
    assert not bot.chats.chats


async def test_the_secret_opens_nothing_else(bot: Bot) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    assert (await bot.client.get("/api/v1/models", headers=headers)).status_code == 401


async def test_there_is_no_webhook_without_a_secret(toy: ToyGateway) -> None:
    async with httpx.AsyncClient(base_url=toy.url) as client:
        headers = {"X-Telegram-Bot-Api-Secret-Token": ""}
        answer = await client.post(PATH, json={"update_id": 1}, headers=headers)
    assert answer.status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"update_id": "x"}', b'{"message": {}}'])
async def test_what_is_no_update_is_refused(bot: Bot, body: bytes) -> None:
    headers = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
    answer = await bot.client.post(PATH, content=body, headers=headers)
    assert answer.status_code in (400, 422)


async def test_a_host_that_ends_has_telegram_try_again(bot: Bot) -> None:
    asking = asyncio.create_task(bot.post({"update_id": 903, "message": message("wait")}))
    await asyncio.wait_for(bot.chats.waiting.wait(), DEADLINE_S)
    await bot.gateway.server.close()
    # On a machine that stands still meanwhile the connection is cut off: that is no answer either.
    with contextlib.suppress(httpx.HTTPError):
        assert (await asking).status_code == 503


def test_a_real_host_with_a_real_model() -> None:
    environment = {"NATIVE_HOST_TELEGRAM_SECRET": SECRET, "NATIVE_HOST_TELEGRAM_BOT": "@example_bot"}
    with (
        served(environment=environment, open_loopback=False) as gateway,
        httpx.Client(base_url=gateway.url, timeout=100) as client,
    ):
        client.headers["X-Telegram-Bot-Api-Secret-Token"] = SECRET

        def write(number: int, text: str) -> str:
            answer = client.post(PATH, json={"update_id": number, "message": message(text)})
            assert answer.status_code == 200
            assert answer.json()["chat_id"] == 5
            return str(answer.json()["text"])

        assert "worker" in write(1, "What is a worker?").lower()
        assert "tabagent-demo" in write(2, "/model")
        assert "No model" in write(3, "/model gpt-17")
        assert "Forgotten" in write(4, "/reset")
