"""Calls that public templates write for earlier turns are read as those calls."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import tabagent_model
from tabagent_model.chat import ChatInputs, ChatStyle, Prompt, Reader, written
from tabagent_model.chat.formats import is_harmony, thoughts
from tabagent_model.types import Message

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"type": "string"},
            },
            "required": ["city"],
        },
    },
}

CALLS = [("get_weather", {"city": "Kraków", "days": 3}), ("get_weather", {"city": "Łódź", "unit": "kelvin"})]
OTHER_WAYS = {
    # They write the type of each argument, or arguments that are no JSON and no plain text.
    *("deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4", "deepseek-ai-DeepSeek-V4-Flash-0731"),
    *("google-gemma-4-31B-it", "google-gemma-4-31B-it-interleaved", "MiniMax-M3", "Kimi-K3"),
    *("LFM2-8B-A1B", "LFM2.5-8B-A1B", "LFM2.5-Instruct", "Apertus-8B-Instruct"),
    # Marks that hold what changes, or messages of their own for calls.
    *("tencent-Hy3", "muse-glimmer"),
    *("CohereForAI-c4ai-command-r-plus-tool_use", "GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B"),
    # They do not tell of tools, which they nevertheless write calls of.
    *("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"),
    *("deepseek-ai-DeepSeek-V3.1", "HuggingFaceTB-SmolLM3-3B"),
    *("fireworks-ai-llama-3-firefunction-v2", "meetkai-functionary-medium-v3.2", "openbmb-MiniCPM5-1B"),
}
"""Templates with tools that are described in the system prompt instead."""

SILENT = {
    *("ibm-granite-granite-3.3-2B-Instruct", "Kimi-K2-Instruct", "Kimi-K2-Thinking"),
    *("unsloth-Apriel-1.5", "Apriel-1.6-15b-Thinker-fixed"),
}
"""Templates that write no calls of earlier turns, cannot be rendered with them, or add ids that models are
told to leave out."""


def render(template: str, inputs: ChatInputs) -> Prompt:
    text = tabagent_model.render_template(
        template,
        inputs.messages,
        tools=inputs.tools,
        add_generation_prompt=inputs.add_generation_prompt,
        eos_token="</s>",
    )
    return [(text, True)]


def style_of(template: str) -> ChatStyle:
    return ChatStyle(template, lambda inputs: render(template, inputs), lambda _: None)


def calls_of(reader: Reader, answer: str) -> list[tuple[str, object]]:
    names: list[str] = []
    texts: list[str] = []
    for call in [*reader.push(answer).calls, *reader.finish().calls]:
        if call.name is not None:
            names.append(call.name)
            texts.append("")
        texts[call.index] += call.arguments
    return [(name, json.loads(text)) for name, text in zip(names, texts, strict=True)]


def conversation(count: int) -> list[Message]:
    calls = [
        {"id": f"callid{index:03}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for index, (name, arguments) in enumerate(CALLS[:count])
    ]
    return [
        {"role": "user", "content": "THE QUESTION"},
        cast("Message", {"role": "assistant", "content": "", "tool_calls": calls}),
    ]


def test_the_table_says_what_templates_write(templates: dict[str, str]) -> None:
    read_back: set[str] = set()
    for name, template in templates.items():
        style = style_of(template)
        found = style.call_format
        if found is None:
            continue
        count = 2 if found.parallel else 1
        inputs = ChatInputs(conversation(count), [WEATHER], add_generation_prompt=False)
        if name in SILENT:
            continue
        after = render(template, inputs)[0][0].rpartition("THE QUESTION")[2]
        first = found.call[0]
        assert isinstance(first, str)
        start = after.index(found.opening + first)
        # What follows a call that stands alone is the end of the message.
        answer = after[start : after.rindex("}") + 1] if found.alone else after[start:]
        plan = style.plan(ChatInputs(conversation(1)[:1], [WEATHER]))
        marks = thoughts(template)
        if marks is not None and written(plan.prompt).rstrip().endswith(marks.opening):
            answer = marks.closing + answer
        assert calls_of(plan.reader, answer) == CALLS[:count], name
        read_back.add(name)
    assert len(read_back) >= 30


def test_every_template_with_tools_is_in_the_table_or_known_not_to_be(templates: dict[str, str]) -> None:
    for name, template in templates.items():
        if is_harmony(template) or "tools" not in template:
            continue
        style = style_of(template)
        assert (style.call_format is None) == (name in OTHER_WAYS), name


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_template_without_tools_is_told_of_them(choice: Any) -> None:  # noqa: ANN401 - a literal
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    style = style_of(template)
    history: list[Message] = [
        *conversation(2),
        {"role": "tool", "tool_call_id": "callid000", "content": "rain"},
        {"role": "tool", "tool_call_id": "callid001", "content": "sun"},
    ]
    plan = style.plan(ChatInputs([{"role": "system", "content": "Be brief."}, *history], [WEATHER]), choice)
    text = plan.prompt[0][0]
    assert text.startswith("system: Be brief.\n\nYou can call functions.")
    assert json.dumps(WEATHER) in text
    assert text.count('<tool_call>\n{"name": "get_weather"') == 2
    assert "user: <tool_response>\nrain\n</tool_response>\n<tool_response>\nsun\n</tool_response>\n" in text
