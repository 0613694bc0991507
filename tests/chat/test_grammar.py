"""Grammars of every format, with marks as plain text and as control tokens, on the real engine: what a model
writes rightly is let through as it is, and a model that writes anything still calls rightly.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
import tabagent_model
from tabagent_model.chat import parameter_of
from tabagent_model.chat.formats import CALL_FORMATS, HARMONY_SIGNS, HERMES, CallFormat
from tabagent_model.chat.grammar import part_name
from tabagent_model.chat.harmony import MARKS

from native_host.workers.backends.engine_requests import refused

from .test_reader import Read
from .toy_model import ToyModel, plan_of
from .writing import NOW, TOOLS, WEATHER, written

BY_NAME = {each.name: each for each in CALL_FORMATS}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"city": "Kraków {<\\n", "days": 3, "at": {"hour": 7}}),
    ("now", {}),
    ("get_weather", {"city": "Łódź", "unit": "celsius"}),
]
CONTROL = [
    *(
        "[TOOL_CALLS]",
        "[ARGS]",
        "[CALL_ID]",
        "<|tool_call|>",
        "<|/tool_call|>",
        "<tool_call>",
        "</tool_call>",
    ),
    *("<|tool_calls_section_begin|>", "<|tool_call_begin|>", "<|tool_call_argument_begin|>"),
    *("<|tool_call_end|>", "<|tool_calls_section_end|>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>"),
    *("<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<think>", "</think>"),
    *(
        "<|tool_calls|>",
        "<|tool_call:begin|>",
        "<|tool_call:name|>",
        "<|tool_call:args|>",
        "<|tool_call:end|>",
    ),
]
MODELS = {"text": ToyModel([]), "control tokens": ToyModel(CONTROL)}
HEAT: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "set_heat",
        "parameters": {
            "type": "object",
            "properties": {
                "room": {"$ref": "#/$defs/room"},
                "degrees": {"type": "integer", "minimum": 5, "maximum": 30},
                "unit": {"type": "string", "enum": ["celsius", "kelvin"]},
                "when": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
            },
            "required": ["room", "degrees"],
            "$defs": {"room": {"enum": ["kitchen", 3]}},
        },
    },
}
THINKS = " <think> </think>"


def template_of(call_format: CallFormat) -> str:
    return " ".join(call_format.signs)


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> ToyModel:
    return MODELS[request.param]


@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_written_rightly_is_let_through(model: ToyModel, name: str) -> None:
    call_format = BY_NAME[name]
    calls = CALLS if call_format.parallel else CALLS[:1]
    answer = written(call_format, calls)
    for choice in ("auto", "required"):
        plan = plan_of(model, template_of(call_format), TOOLS, choice, call_format=call_format)
        said, reason = model.says(plan, answer)
        assert (said, reason) == (answer, "stop")
        read = Read(plan.reader, [said])
        assert [(each, json.loads(arguments)) for each, arguments in read.calls] == calls
        assert read.called


@pytest.mark.parametrize("name", [name for name, each in BY_NAME.items() if not each.alone])
def test_text_and_thoughts_before_calls_are_let_through(model: ToyModel, name: str) -> None:
    call_format = BY_NAME[name]
    answer = f"<think>A call? <tool> </think>\nI look < there.\n{written(call_format, CALLS[:2])}"
    plan = plan_of(model, template_of(call_format) + THINKS, TOOLS, call_format=call_format)
    said, _ = model.says(plan, answer)
    assert said == answer
    read = Read(plan.reader, [said])
    assert (read.text, read.reasoning, len(read.calls)) == ("I look < there.", "A call? <tool>", 2)


@pytest.mark.parametrize("name", BY_NAME)
def test_whatever_a_model_writes_required_calls_are_valid(model: ToyModel, name: str) -> None:
    call_format = BY_NAME[name]
    # A string that is written as it is has no end that babbling would find.
    tools = TOOLS if call_format.parameters is None else [HEAT, NOW]
    for seed in range(3):
        plan = plan_of(model, template_of(call_format), tools, "required", call_format=call_format)
        said, reason = model.babbles(plan, seed)
        assert reason == "stop"
        read = Read(plan.reader, [said])
        assert (read.text, read.called) == ("", True)
        check(read)


def check(read: Read) -> None:
    schemas = {
        "get_weather": WEATHER["function"]["parameters"],
        "set_heat": HEAT["function"]["parameters"],
        "now": {"maxProperties": 0},
    }
    for name, text in read.calls:
        jsonschema.validate(json.loads(text), schemas[name])


def test_a_call_follows_thoughts_that_the_prompt_began(model: ToyModel) -> None:
    plan = plan_of(model, template_of(HERMES) + THINKS, TOOLS, "required", prompt="<think>\n")
    said, _ = model.says(plan, f"Hm. </think>\n\n{written(HERMES, CALLS[1:2])}")
    read = Read(plan.reader, [said])
    assert (read.reasoning, read.text, read.calls) == ("Hm.", "", [("now", "{}")])


def test_a_form_follows_thoughts_that_the_prompt_began(model: ToyModel) -> None:
    form = {"type": "json_schema", "json_schema": {"enum": [1, 2]}}
    plan = plan_of(model, template_of(HERMES) + THINKS, [], prompt="<think>", response_format=form)
    said, _ = model.says(plan, "Hm, 5.</think>\n\n2")
    read = Read(plan.reader, [said])
    assert (read.reasoning, read.text) == ("Hm, 5.", "2")


def test_only_the_named_function_is_called(model: ToyModel) -> None:
    named = {"type": "function", "function": {"name": "now"}}
    plan = plan_of(model, template_of(HERMES), TOOLS, named)
    said, _ = model.says(plan, written(HERMES, CALLS))
    assert Read(plan.reader, [said]).calls == [("now", "{}")]


def test_one_call_where_there_may_be_no_more(model: ToyModel) -> None:
    for choice in ("auto", "required"):
        plan = plan_of(model, template_of(HERMES), TOOLS, choice, parallel=False)
        said, _ = model.says(plan, written(HERMES, CALLS))
        assert len(Read(plan.reader, [said]).calls) == 1


def test_a_choice_that_nothing_fits_is_an_error() -> None:
    for tools, choice in (([], "required"), ([NOW], {"type": "function", "function": {"name": "x"}})):
        with pytest.raises(ValueError, match="tool_choice"):
            plan_of(MODELS["text"], "", tools, choice)  # type: ignore[arg-type]  # one of each


HARMONY = ToyModel(list(MARKS))
HARMONY_TEMPLATE = " ".join(HARMONY_SIGNS)


def test_calls_of_gpt_oss() -> None:
    thought = "<|channel|>analysis<|message|>I look.<|end|><|start|>assistant"
    call = '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "x"}'
    for choice in ("auto", "required"):
        plan = plan_of(HARMONY, HARMONY_TEMPLATE, TOOLS, choice)
        said, _ = HARMONY.says(plan, thought + call)
        read = Read(plan.reader, [said])
        assert (read.reasoning, read.text, read.calls) == ("I look.", "", [("get_weather", '{"city": "x"}')])
    plan = plan_of(HARMONY, HARMONY_TEMPLATE, TOOLS, "required")
    said, reason = HARMONY.babbles(plan, 3)
    read = Read(plan.reader, [said])
    if reason == "stop":
        assert read.calls
        check(read)


def test_answers_of_gpt_oss_need_no_tools() -> None:
    answer = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes."
    for tools in ([], TOOLS):
        plan = plan_of(HARMONY, HARMONY_TEMPLATE, tools)
        said, _ = HARMONY.says(plan, answer)
        read = Read(plan.reader, [said])
        assert (read.reasoning, read.text, read.calls) == ("Hm.", "Yes.", [])


def tool_with(properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": "take", "parameters": parameters}}


LISTED = [name for name, each in BY_NAME.items() if each.parameters is not None]


@pytest.mark.parametrize("name", LISTED)
def test_listed_parameters_have_any_names_and_schemas(model: ToyModel, name: str) -> None:
    schemas = {
        "a b": {"type": "integer"},
        "a.b": {"type": "boolean"},
        "a__b": {"type": "null"},
        "$naïve": {"type": "array", "items": {"type": "integer"}},
        "any": True,
        "unit": {"type": "string", "enum": ["kelvin", None, 3]},
    }
    call_format = BY_NAME[name]
    arguments = {"a b": 5, "a.b": True, "a__b": None, "$naïve": [1], "any": {"x": "y"}, "unit": "kelvin"}
    tools = [tool_with(schemas)]
    plan = plan_of(model, template_of(call_format), tools, "required", call_format=call_format)
    answer = written(call_format, [("take", arguments)])
    said, reason = model.says(plan, answer)
    assert (said, reason) == (answer, "stop")
    read = Read(plan.reader, [said])
    assert [(each, json.loads(text)) for each, text in read.calls] == [("take", arguments)]


def test_names_of_parts_tell_their_parameters() -> None:
    names = ["", "a b", "a.b", "a__b", "a_5f_b", "$naïve", "plain-1", "_", "😀"]
    parts = [part_name(3, each) for each in names]
    assert len(set(parts)) == len(names)
    for name, part in zip(names, parts, strict=True):
        assert re.fullmatch(r"tool_3__[A-Za-z0-9_-]*", part)
        assert parameter_of(part.removeprefix("tool_3__")) == name


@pytest.mark.parametrize("schema", [{"enum": [None, 3]}, {"const": 5}, {"enum": None}, {"enum": []}])
def test_a_string_that_can_be_no_string_is_an_error(schema: dict[str, Any]) -> None:
    call_format = BY_NAME["glm"]
    tools = [NOW, tool_with({"a b": {"type": "string", **schema}})]
    with pytest.raises(ValueError, match=r"'a b' of tools\[1\]"):
        plan_of(MODELS["text"], template_of(call_format), tools, call_format=call_format)


def test_a_complaint_names_the_parameter() -> None:
    call_format = BY_NAME["glm"]
    for schema in ({"type": "integer", "uniqueItems": True, "not": {"const": 3}}, False):
        tools = [NOW, tool_with({"a b": schema})]
        plan = plan_of(MODELS["text"], template_of(call_format), tools, call_format=call_format)
        with pytest.raises(tabagent_model.InvalidArgumentError) as caught:
            MODELS["text"].says(plan, "")
        path = "tools[1].function.parameters.properties.a b"
        assert refused(str(caught.value)).data["path"] == path
