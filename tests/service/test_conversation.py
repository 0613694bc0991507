"""From the messages of a peer to a plain conversation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from native_host.protocol.errors import RpcError
from native_host.protocol.messages import ChatMessage
from native_host.service.conversation import conversation
from native_host.workers import messages as worker


def plain(*messages: dict[str, Any], system: str | None = None) -> list[worker.ChatMessage]:
    return conversation(msgspec.convert(list(messages), list[ChatMessage]), system)


def test_strings_and_text_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert plain({"role": "user", "content": parts}) == [worker.ChatMessage("user", "ab")]


def test_the_model_s_system_prompt_is_used_unless_the_peer_sends_one() -> None:
    question = {"role": "user", "content": "hi"}
    assert plain(question, system="be brief")[0] == worker.ChatMessage("system", "be brief")
    own = plain({"role": "system", "content": "mine"}, question, system="be brief")
    assert [message.content for message in own] == ["mine", "hi"]


@pytest.mark.parametrize(
    ("messages", "kind", "said"),
    [
        ([], "invalid_params", "messages: is empty"),
        ([{"role": "user"}], "invalid_params", "messages[0].content: is missing"),
        ([{"role": "user", "content": [{"type": "text"}]}], "invalid_params", "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "invalid_params", "content[0].text"),
        ([{"role": "user", "content": [{"text": "x"}]}], "invalid_params", "messages[0].content[0].type"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "x", "colour": 1}]}],
            "invalid_params",
            "messages[0].content[0].colour: unknown member",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "unsupported", "image_url"),
    ],
)
def test_refusals(messages: list[dict[str, Any]], kind: str, said: str) -> None:
    with pytest.raises(RpcError) as caught:
        plain(*messages)
    assert caught.value.kind == kind
    assert said in caught.value.message


def test_calls_become_what_templates_read() -> None:
    call = {"id": "1", "function": {"name": "look", "arguments": '{"at": "Kraków"}'}}
    odd = {"function": {"name": "look", "arguments": "[1"}}
    given = [
        {"role": "user", "content": "look", "name": "Ann"},
        {"role": "assistant", "tool_calls": [call, odd]},
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
    made = conversation(msgspec.convert(given, list[ChatMessage]))
    assert [message.fields() for message in made] == [
        {"role": "user", "content": "look", "name": "Ann"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": {"at": "Kraków"}}},
                {"type": "function", "function": {"name": "look", "arguments": "[1"}},
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "1"},
    ]
