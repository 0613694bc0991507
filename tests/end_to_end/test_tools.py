"""Tools through a real host: official shapes of messages, in every format of models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import jsonschema
import msgspec
import pytest

from native_host.client import Host, RpcError
from native_host.models.registry import BUILTIN_NAMES
from native_host.protocol.messages import ChatResult

WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 12},
        "days": {"type": "integer", "minimum": 1, "maximum": 14},
        "unit": {"enum": ["celsius", "kelvin"]},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {"name": "get_weather", "description": "Tells the weather.", "parameters": WEATHER},
    },
    {"type": "function", "function": {"name": "now", "description": "Tells the time.", "strict": True}},
]
QUESTION = {"role": "user", "content": "What is the weather in Kraków?"}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    cache = tmp_path_factory.mktemp("cache")
    with Host.spawn(env={"XDG_CACHE_HOME": str(cache)}) as host:
        yield host


def chat(host: Host, messages: list[dict[str, Any]] | None = None, **params: object) -> ChatResult:
    asked = {"messages": messages or [QUESTION], "tools": TOOLS, "max_tokens": 300, **params}
    return msgspec.convert(host.call("chat", asked), ChatResult)


def check(answer: ChatResult) -> None:
    """All calls are of their schemas."""
    calls = answer.message.tool_calls or []
    for call in calls:
        assert isinstance(call.function.arguments, str)
        arguments = json.loads(call.function.arguments)
        if call.function.name == "get_weather":
            jsonschema.validate(arguments, WEATHER)
        else:
            assert (call.function.name, arguments) == ("now", {})
    ids = [call.id for call in calls]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("model", BUILTIN_NAMES)
def test_required_calls_are_valid_whatever_the_model_would_rather_say(host: Host, model: str) -> None:
    for seed in range(4):
        answer = chat(host, model=model, tool_choice="required", temperature=1.5, seed=seed)
        assert answer.finish_reason == "tool_calls"
        assert answer.message.tool_calls
        assert answer.message.content == ""
        check(answer)


@pytest.mark.parametrize("model", BUILTIN_NAMES)
def test_a_named_function_is_called_once(host: Host, model: str) -> None:
    named = {"type": "function", "function": {"name": "now"}}
    answer = chat(host, model=model, tool_choice=named, temperature=1.5, seed=1)
    check(answer)
    assert [call.function.name for call in answer.message.tool_calls or []] == ["now"]


def test_without_parallel_calls_there_is_one(host: Host) -> None:
    for seed in range(5):
        answer = chat(host, tool_choice="required", parallel_tool_calls=False, temperature=1.5, seed=seed)
        assert len(answer.message.tool_calls or []) == 1
        check(answer)


def test_a_model_that_may_call_can_talk(host: Host) -> None:
    answer = chat(host, temperature=0.0)
    assert (answer.message.tool_calls, answer.finish_reason) == (None, "stop")
    assert answer.message.content


def test_tools_that_must_not_be_called_are_not_told(host: Host) -> None:
    with_none = chat(host, tool_choice="none", temperature=0.0)
    without = chat(host, tools=[], temperature=0.0)
    assert with_none.message.content == without.message.content
    assert with_none.usage.prompt_tokens == without.usage.prompt_tokens


def test_streamed_pieces_join_to_the_calls(host: Host) -> None:
    for seed in range(6):
        stream = host.chat([QUESTION], tools=TOOLS, tool_choice="required", temperature=1.5, seed=seed)
        joined: list[dict[str, Any]] = []
        for piece in stream.pieces():
            assert piece.text == ""
            for delta in piece.tool_calls or []:
                if delta.id is not None:
                    assert (delta.index, delta.type) == (len(joined), "function")
                    joined.append({"id": delta.id, "name": delta.function.name, "arguments": ""})
                assert delta.function.name is None or delta.id is not None
                joined[delta.index]["arguments"] += delta.function.arguments
        told = [
            {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
            for call in stream.result.message.tool_calls or []
        ]
        assert joined == told
        assert told


def test_a_round_trip_with_the_official_shapes(host: Host) -> None:
    first = host.call("chat", {"messages": [QUESTION], "tools": TOOLS, "tool_choice": "required", "seed": 3})
    assert isinstance(first, dict)
    message = first["message"]
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"result {index}"}
        for index, call in enumerate(message["tool_calls"])
    ]
    messages = [QUESTION, message, *results]
    answer = chat(host, messages)
    assert answer.finish_reason in ("stop", "length")
    prompt = host.call("models.apply_template", {"messages": messages, "tools": TOOLS})
    assert isinstance(prompt, dict)
    text = prompt["prompt"]
    assert "get_weather" in text
    assert json.dumps(json.loads(message["tool_calls"][0]["function"]["arguments"]))[1:-1] in text
    assert "<tool_response>\nresult 0\n</tool_response>" in text
    # As some clients send it: no content where there are only calls.
    assert chat(host, [QUESTION, {**message, "content": None}, *results]).message.content is not None


def test_an_answer_that_is_cut_within_a_call_says_so(host: Host) -> None:
    whole = chat(host, tool_choice="required", seed=2, parallel_tool_calls=False)
    (call,) = whole.message.tool_calls or []
    assert isinstance(call.function.arguments, str)
    for tokens in range(1, whole.usage.completion_tokens):
        cut = chat(host, tool_choice="required", seed=2, parallel_tool_calls=False, max_tokens=tokens)
        assert cut.finish_reason == "length"
        for begun in cut.message.tool_calls or []:
            assert begun.function.name == call.function.name
            assert isinstance(begun.function.arguments, str)
            assert call.function.arguments.startswith(begun.function.arguments)


def test_a_stop_string_within_a_call_ends_it_there(host: Host) -> None:
    answer = chat(host, tool_choice="required", seed=2, stop=['"days"'], temperature=1.5)
    assert answer.finish_reason == "stop"
    (call,) = answer.message.tool_calls or []
    assert isinstance(call.function.arguments, str)
    assert '"days"' not in call.function.arguments


def test_a_python_function_is_called(host: Host) -> None:
    def set_heat(degrees: Annotated[int, msgspec.Meta(ge=5, le=30)], room: Literal["kitchen", "hall"]) -> str:
        """Set the heating."""
        return f"{room} {degrees}"

    answer = host.chat("Warm the hall.", tools=[set_heat], tool_choice=set_heat, seed=1).result
    (call,) = answer.message.tool_calls or []
    assert isinstance(call.function.arguments, str)
    room, degrees = set_heat(**json.loads(call.function.arguments)).split()
    assert (room in ("kitchen", "hall"), 5 <= int(degrees) <= 30) == (True, True)


def test_a_schema_that_is_not_supported_is_named_with_its_tool(host: Host) -> None:
    odd = {"type": "object", "properties": {"x": {"type": "array", "uniqueItems": True}}}
    tools = [TOOLS[1], {"type": "function", "function": {"name": "odd", "parameters": odd}}]
    with pytest.raises(RpcError) as refused:
        chat(host, tools=tools)
    assert refused.value.data["path"] == "tools[1].function.parameters"
    assert "uniqueItems" in refused.value.data["problem"]
