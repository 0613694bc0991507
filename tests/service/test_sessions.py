"""Sessions, over a FAKE chat that keeps what it was sent, and a real worker process with a fake backend
(tests/workers/fake_backend_worker.py: a token a byte, 64 of them, and a template that joins).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from native_host.models.manager import ModelManager
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import (
    AssistantMessage,
    ChatMessage,
    ChatParams,
    ChatResult,
    NoParams,
    SessionParams,
    SessionsCreateParams,
    Timings,
    ToolCall,
    ToolFunction,
    Usage,
)
from native_host.service.context import RequestContext
from native_host.service.sessions import SessionsService
from native_host.store import MemoryStore

from .recording import RecordingContext

ANN, BOB = Identity("api_key", "ann"), Identity("api_key", "bob")


class FakeChat:
    """Answers "ok", and keeps the prompts; "wait" waits for `go`, "fail" fails."""

    def __init__(self) -> None:
        self.prompts: list[list[str]] = []
        self.models: list[str | None] = []
        self.calls: list[ToolCall] | None = None
        self.waiting = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, params: ChatParams, context: RequestContext) -> ChatResult:
        assert params.session is None
        self.models.append(params.model)
        self.prompts.append([f"{message.role[0]}:{message.content}" for message in params.messages])
        if params.messages[-1].content == "wait":
            self.waiting.set()
            await self.go.wait()
        if params.messages[-1].content == "fail":
            raise errors.timeout()
        return ChatResult(
            message=AssistantMessage(content="ok", tool_calls=self.calls),
            finish_reason="stop",
            model="fine",
            usage=Usage(prompt_tokens=1, completion_tokens=1, cached_tokens=0),
            timings=Timings(load_ms=0.0),
            seed=1,
        )


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Talk:
    """A sessions service, with ways to use it in one line."""

    def __init__(self, manager: ModelManager) -> None:
        self.fake = FakeChat()
        self.clock = Clock()
        store = MemoryStore(1 << 20, 100, 2000, self.clock)
        self.sessions = SessionsService(manager, store, self.fake)

    async def create(self, who: Identity = ANN, **params: object) -> str:
        asked = SessionsCreateParams(**params)  # type: ignore[arg-type]  # the tests name them
        return (await self.sessions.create(asked, context_of(who))).session

    async def say(
        self, session: str, text: str, who: Identity = ANN, role: str = "user", **params: object
    ) -> ChatResult:
        message = ChatMessage(role=role, content=text)  # type: ignore[arg-type]  # one of its four
        asked = ChatParams(messages=[message], session=session, **params)  # type: ignore[arg-type]
        return await self.sessions.chat(asked, context_of(who))

    async def said(self, session: str, who: Identity = ANN) -> list[str]:
        found = await self.sessions.get(SessionParams(session=session), context_of(who))
        return [f"{message.role[0]}:{message.content}" for message in found.messages]


def context_of(who: Identity) -> RecordingContext:
    context = RecordingContext()
    context.identity = who
    return context


@pytest.fixture
async def talk(manager: ModelManager) -> AsyncIterator[Talk]:
    yield Talk(manager)
    await manager.stop()


def kind(caught: pytest.ExceptionInfo[RpcError]) -> str:
    return caught.value.kind


async def test_each_chat_sends_what_is_new_and_the_model_reads_all(talk: Talk) -> None:
    name = await talk.create()
    await talk.say(name, "a")
    result = await talk.say(name, "b")
    assert talk.fake.prompts == [["u:a"], ["u:a", "a:ok", "u:b"]]
    assert await talk.said(name) == ["u:a", "a:ok", "u:b", "a:ok"]
    assert (result.message.content, result.left_out) == ("ok", 0)
    assert (result.timings.load_ms or 0) > 0  # the model was loaded to count the tokens


async def test_a_sessions_own_model_and_system_message_are_for_all_of_its_chats(talk: Talk) -> None:
    name = await talk.create(model="fine", system="be brief")
    await talk.say(name, "a")
    await talk.say(name, "b")
    assert talk.fake.prompts[1] == ["s:be brief", "u:a", "a:ok", "u:b"]
    assert talk.fake.models == ["fine", "fine"]
    assert await talk.said(name) == ["u:a", "a:ok", "u:b", "a:ok"]
    found = await talk.sessions.get(SessionParams(session=name), context_of(ANN))
    assert (found.model, found.system, found.left_out) == ("fine", "be brief", 0)
    with pytest.raises(RpcError) as caught:
        await talk.say(name, "be long", role="system")
    assert kind(caught) == "invalid_params"


async def test_a_chat_may_name_another_model(talk: Talk) -> None:
    name = await talk.create(model="hang")  # which never loads
    await talk.say(name, "a", model="fine")
    await talk.say(name, "b", model="fine")
    assert talk.fake.models == ["fine", "fine"]


async def test_a_model_that_is_none_is_refused_at_once(talk: Talk) -> None:
    with pytest.raises(RpcError) as caught:
        await talk.create(model="fime")
    assert (kind(caught), caught.value.data["nearest"]) == ("model_not_found", ["fine"])


async def test_what_fails_or_is_cancelled_leaves_nothing_behind(talk: Talk) -> None:
    name = await talk.create()
    await talk.say(name, "a")
    with pytest.raises(RpcError):
        await talk.say(name, "fail")
    task = asyncio.create_task(talk.say(name, "wait"))
    await talk.fake.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await talk.said(name) == ["u:a", "a:ok"]


async def test_chats_in_one_session_come_one_after_the_other(talk: Talk) -> None:
    name, other = await talk.create(), await talk.create()
    first = asyncio.create_task(talk.say(name, "wait"))
    await talk.fake.waiting.wait()
    second = asyncio.create_task(talk.say(name, "b"))
    await talk.say(other, "elsewhere")
    assert not second.done()
    talk.fake.go.set()
    await asyncio.gather(first, second)
    assert await talk.said(name) == ["u:wait", "a:ok", "u:b", "a:ok"]
    assert talk.fake.prompts[-1] == ["u:wait", "a:ok", "u:b"]


async def test_one_who_gives_up_waiting_lets_the_next_one_in(talk: Talk) -> None:
    name = await talk.create()
    first = asyncio.create_task(talk.say(name, "wait"))
    await talk.fake.waiting.wait()
    second, third = (asyncio.create_task(talk.say(name, text)) for text in "bc")
    await asyncio.sleep(0)
    second.cancel()
    talk.fake.go.set()
    await asyncio.gather(first, third)
    assert await talk.said(name) == ["u:wait", "a:ok", "u:c", "a:ok"]


async def test_nobody_sees_or_touches_anothers(talk: Talk) -> None:
    name = await talk.create()
    await talk.say(name, "a")
    assert await talk.sessions.list(NoParams(), context_of(BOB)) == []
    for forbidden in (
        talk.say(name, "b", BOB),
        talk.said(name, BOB),
        talk.sessions.delete(SessionParams(session=name), context_of(BOB)),
    ):
        with pytest.raises(RpcError, match=r"sessions\.create") as caught:
            await forbidden
        assert kind(caught) == "session_not_found"
    assert await talk.said(name) == ["u:a", "a:ok"]


async def test_listing_and_deleting(talk: Talk) -> None:
    name, other = await talk.create(model="fine", ttl_s=60), await talk.create()
    await talk.say(name, "a")
    listed = await talk.sessions.list(NoParams(), context_of(ANN))
    assert [(each.session, each.messages, each.model, each.ttl_s) for each in listed] == [
        (other, 0, None, 24 * 3600),
        (name, 2, "fine", 60),
    ]
    await talk.sessions.delete(SessionParams(session=name), context_of(ANN))
    for gone in (talk.said(name), talk.say(name, "b")):
        with pytest.raises(RpcError) as caught:
            await gone
        assert kind(caught) == "session_not_found"


async def test_its_time_runs_from_its_last_use_and_not_out_while_it_is_answered(talk: Talk) -> None:
    name = await talk.create(ttl_s=10)
    talk.clock.now = 9
    task = asyncio.create_task(talk.say(name, "wait"))
    await talk.fake.waiting.wait()
    talk.clock.now = 1000
    talk.fake.go.set()
    await task
    talk.clock.now += 9
    assert await talk.said(name) == ["u:wait", "a:ok"]
    talk.clock.now += 10
    with pytest.raises(RpcError) as caught:
        await talk.said(name)
    assert kind(caught) == "session_not_found"


async def test_a_session_deleted_under_an_answer_says_so(talk: Talk) -> None:
    name = await talk.create()
    task = asyncio.create_task(talk.say(name, "wait"))
    await talk.fake.waiting.wait()
    await talk.sessions.delete(SessionParams(session=name), context_of(ANN))
    talk.fake.go.set()
    with pytest.raises(RpcError) as caught:
        await task
    assert kind(caught) == "session_not_found"


async def test_a_call_that_was_cut_is_told_and_not_kept(talk: Talk) -> None:
    whole, cut, other = (
        ToolCall(function=ToolFunction(name="take", arguments=text)) for text in ('{"a": 1}', '{"a": ', "[]")
    )
    name = await talk.create()
    for calls, kept in (([whole, cut], [whole]), ([cut, other], None)):
        talk.fake.calls = calls
        result = await talk.say(name, "a")
        assert result.message.tool_calls == calls
        found = await talk.sessions.get(SessionParams(session=name), context_of(ANN))
        assert found.messages[-1].tool_calls == kept


async def test_a_session_that_is_full_says_so(talk: Talk) -> None:
    name = await talk.create()
    with pytest.raises(RpcError) as caught:
        await talk.say(name, "x" * 2000)
    assert (kind(caught), caught.value.data["limit"]) == ("input_too_long", 2000)
    with pytest.raises(RpcError) as caught:
        await talk.create(system="x" * 2000)
    assert kind(caught) == "input_too_long"
    assert await talk.said(name) == []


async def test_complaints_name_messages_as_the_peer_numbers_them(talk: Talk) -> None:
    name = await talk.create()
    await talk.say(name, "a")
    asked = ChatParams(messages=[ChatMessage(role="user")], session=name)
    with pytest.raises(RpcError) as caught:
        await talk.sessions.chat(asked, context_of(ANN))
    assert caught.value.data["path"] == "messages[0].content"


async def test_the_oldest_turns_stay_out_of_a_prompt_that_would_be_too_long(talk: Talk) -> None:
    """64 tokens in all, of which 16 are the answer's: 48, or 36 once turns stay out."""
    name = await talk.create(system="12345678")
    prompts = []
    for letter in "abcdef":
        result = await talk.say(name, letter * 9)  # with the answer, 11 a turn
        prompts.append((talk.fake.prompts[-1][1], result.left_out))
    # 8 + 11 n + 9 is more than 48 with the third turn before it, so that all but one stay out
    assert prompts == [
        ("u:aaaaaaaaa", 0),
        ("u:aaaaaaaaa", 0),
        ("u:aaaaaaaaa", 0),
        ("u:ccccccccc", 4),
        ("u:ccccccccc", 4),
        ("u:eeeeeeeee", 8),
    ]
    assert all(prompt[0] == "s:12345678" for prompt in talk.fake.prompts)
    found = await talk.sessions.get(SessionParams(session=name), context_of(ANN))
    assert (len(found.messages), found.left_out) == (12, 8)


async def test_a_question_that_is_too_long_by_itself_goes_as_it_is(talk: Talk) -> None:
    name = await talk.create()
    await talk.say(name, "a")
    result = await talk.say(name, "x" * 100)  # a real model refuses it with its own figures
    assert talk.fake.prompts[-1] == ["u:" + "x" * 100]
    assert result.left_out == 2
