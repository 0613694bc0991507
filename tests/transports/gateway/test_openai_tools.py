"""Tools by OpenAI's official client. The built-in model must call where it has no choice, and its arguments
are held to the schema."""

from __future__ import annotations

import json

from openai import OpenAI
from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
    ChatCompletionUserMessageParam,
)

WEATHER: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Oslo", "Rome"]}, "days": {"enum": [1, 2, 3]}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
QUESTION: ChatCompletionUserMessageParam = {"role": "user", "content": "What is the weather in Oslo?"}


def valid(arguments: str) -> bool:
    found = json.loads(arguments)
    return set(found) == {"city", "days"} and found["city"] in ("Oslo", "Rome") and found["days"] in (1, 2, 3)


def test_a_call_and_its_result(openai: OpenAI) -> None:
    answer = openai.chat.completions.create(
        model="tabagent-demo",
        messages=[QUESTION],
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
        seed=3,
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    message = answer.choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert call.function.name == "weather"
    assert valid(call.function.arguments)
    history: list[ChatCompletionMessageParam] = [
        QUESTION,
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": call.function.arguments},
                }
            ],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "Rain."},
    ]
    after = openai.chat.completions.create(
        model="tabagent-demo", messages=history, tools=[WEATHER], tool_choice="none", max_tokens=8
    )
    assert after.choices[0].message.tool_calls is None
    assert after.choices[0].message.content


def test_a_streamed_call_is_the_same(openai: OpenAI) -> None:
    with openai.chat.completions.stream(
        model="tabagent-demo",
        messages=[QUESTION],
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=200,
        seed=3,
    ) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.id
    assert call.function.name == "weather"
    assert valid(call.function.arguments)
