"""How models write calls of tools and thoughts: a table, by what in a chat template tells them.

The shapes are those that the public templates write for earlier turns, which is what models were trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Slot(Enum):
    """What changes from call to call."""

    NAME = "name"
    ID = "id"
    """Nine letters and digits that the model makes up."""
    NUMBER = "number"
    ARGUMENTS = "arguments"


@dataclass(frozen=True)
class Parameters:
    """Arguments that are written one by one instead of as JSON: strings as they are, all else as JSON."""

    before: str
    middle: str
    after: str


@dataclass(frozen=True)
class CallFormat:
    """One way to write calls: `opening` call `between` call `closing`.

    A template that has all of `signs` speaks it. `trigger` is where text ends and a call begins. `alone`:
    calls stand at the beginning of an answer, and no text beside them.
    """

    name: str
    signs: tuple[str, ...]
    trigger: str
    call: tuple[str | Slot, ...]
    opening: str = ""
    between: str = ""
    closing: str = ""
    parameters: Parameters | None = None
    alone: bool = False
    parallel: bool = True
    short_ids: bool = False
    """Templates that refuse ids of other than nine letters and digits."""


@dataclass(frozen=True)
class Thoughts:
    """How a model marks what it thinks before it speaks."""

    opening: str
    closing: str


_JSON = (Slot.NAME, '", "arguments": ', Slot.ARGUMENTS, "}")

HERMES = CallFormat(
    "hermes",
    ("<tool_call>", "</tool_call>"),
    "<tool_call>",
    ('<tool_call>\n{"name": "', *_JSON, "\n</tool_call>"),
    between="\n",
)
HARMONY = "harmony"
"""The format of gpt-oss, whose answers are messages on channels: see `harmony.py`."""
HARMONY_SIGNS = ("<|channel|>", "<|message|>", "<|call|>")

CALL_FORMATS = (
    CallFormat(
        "qwen3-coder",
        ("<tool_call>", "<function=", "<parameter="),
        "<tool_call>",
        (
            "<tool_call>\n<function=",
            *(Slot.NAME, ">\n", Slot.ARGUMENTS),
            "</function>\n</tool_call>",
        ),
        between="\n",
        parameters=Parameters("<parameter=", ">\n", "\n</parameter>\n"),
    ),
    CallFormat(
        "seed-oss",
        ("<seed:tool_call>", "<function=", "<parameter="),
        "<seed:tool_call>",
        (
            "<seed:tool_call>\n<function=",
            *(Slot.NAME, ">\n", Slot.ARGUMENTS),
            "</function>\n</seed:tool_call>",
        ),
        between="\n",
        parameters=Parameters("<parameter=", ">", "</parameter>\n"),
    ),
    CallFormat(
        "minimax-m2",
        ("<minimax:tool_call>", "<invoke name="),
        "<minimax:tool_call>",
        ('<invoke name="', Slot.NAME, '">\n', Slot.ARGUMENTS, "</invoke>\n"),
        opening="<minimax:tool_call>\n",
        closing="</minimax:tool_call>",
        parameters=Parameters('<parameter name="', '">', "</parameter>\n"),
    ),
    CallFormat(
        "glm",
        ("<tool_call>", "<arg_key>", "</arg_key>\n<arg_value>"),
        "<tool_call>",
        ("<tool_call>", Slot.NAME, "\n", Slot.ARGUMENTS, "</tool_call>"),
        between="\n",
        parameters=Parameters("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"),
    ),
    CallFormat(
        "ling",
        ("<tool_call>", "<arg_key>", "</arg_key>\n<arg_value>"),
        "<tool_call>",
        ("<tool_call>", Slot.NAME, "\n", Slot.ARGUMENTS, "\n</tool_call>"),
        between="\n",
        parameters=Parameters("<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>"),
    ),
    CallFormat(
        "glm-compact",
        ("<tool_call>", "<arg_key>"),
        "<tool_call>",
        ("<tool_call>", Slot.NAME, Slot.ARGUMENTS, "</tool_call>"),
        parameters=Parameters("<arg_key>", "</arg_key><arg_value>", "</arg_value>"),
    ),
    HERMES,
    CallFormat(
        "functionary",
        ("<function=", "</function>"),
        "<function=",
        ("<function=", Slot.NAME, ">", Slot.ARGUMENTS, "</function>"),
    ),
    CallFormat(
        "mistral-call-id",
        ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
        "[TOOL_CALLS]",
        ("[TOOL_CALLS]", Slot.NAME, "[CALL_ID]", Slot.ID, "[ARGS]", Slot.ARGUMENTS),
        short_ids=True,
    ),
    CallFormat(
        "mistral-args",
        ("[TOOL_CALLS]", "[ARGS]"),
        "[TOOL_CALLS]",
        ("[TOOL_CALLS]", Slot.NAME, "[ARGS]", Slot.ARGUMENTS),
        short_ids=True,
    ),
    CallFormat(
        "mistral",
        ("[TOOL_CALLS]",),
        "[TOOL_CALLS]",
        ('{"name": "', Slot.NAME, '", "arguments": ', Slot.ARGUMENTS, ', "id": "', Slot.ID, '"}'),
        opening="[TOOL_CALLS][",
        between=", ",
        closing="]",
        short_ids=True,
    ),
    CallFormat(
        "phi-4-mini",
        ("<|tool_call|>", "<|/tool_call|>"),
        "<|tool_call|>",
        ('{"name": "', *_JSON),
        opening="<|tool_call|>[",
        between=", ",
        closing="]<|/tool_call|>",
    ),
    CallFormat(
        "granite-3",
        ("<|tool_call|>",),
        "<|tool_call|>",
        ('{"name": "', *_JSON),
        opening="<|tool_call|>[",
        between=", ",
        closing="]",
    ),
    CallFormat(
        "deepseek-r1",
        ("<｜tool▁calls▁begin｜>", "```json"),
        "<｜tool▁calls▁begin｜>",
        (
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
            *(Slot.NAME, "\n```json\n", Slot.ARGUMENTS),
            "\n```<｜tool▁call▁end｜>",
        ),
        opening="<｜tool▁calls▁begin｜>",
        between="\n",
        closing="<｜tool▁calls▁end｜>",
    ),
    CallFormat(
        "deepseek-v3.1",
        ("<｜tool▁calls▁begin｜>",),
        "<｜tool▁calls▁begin｜>",
        ("<｜tool▁call▁begin｜>", Slot.NAME, "<｜tool▁sep｜>", Slot.ARGUMENTS, "<｜tool▁call▁end｜>"),
        opening="<｜tool▁calls▁begin｜>",
        closing="<｜tool▁calls▁end｜>",
    ),
    CallFormat(
        "kimi-k2",
        ("<|tool_calls_section_begin|>",),
        "<|tool_calls_section_begin|>",
        (
            "<|tool_call_begin|>functions.",
            *(Slot.NAME, ":", Slot.NUMBER, "<|tool_call_argument_begin|>", Slot.ARGUMENTS),
            "<|tool_call_end|>",
        ),
        opening="<|tool_calls_section_begin|>",
        closing="<|tool_calls_section_end|>",
    ),
    CallFormat(
        "cohere",
        ("<|START_ACTION|>[\n", '"tool_call_id": "{{ tool_idx.value }}", "tool_name": "'),
        "<|START_ACTION|>",
        (
            *('{"tool_call_id": "', Slot.NUMBER, '", "tool_name": "', Slot.NAME),
            *('", "parameters": ', Slot.ARGUMENTS, "}"),
        ),
        opening="<|START_ACTION|>[\n    ",
        between=",\n    ",
        closing="\n]<|END_ACTION|>",
    ),
    CallFormat(
        "solar",
        ("<|tool_call:begin|>", "<|tool_call:name|>"),
        "<|tool_calls|>",
        (
            *("<|tool_call:begin|>", Slot.ID, "<|tool_call:name|>", Slot.NAME),
            *("<|tool_call:args|>", Slot.ARGUMENTS, "<|tool_call:end|>"),
        ),
        opening="<|tool_calls|>",
    ),
    CallFormat(
        "nemotron",
        ("<TOOLCALL>",),
        "<TOOLCALL>",
        ('{"name": "', *_JSON),
        opening="<TOOLCALL>[",
        between=", ",
        closing="]</TOOLCALL>",
    ),
    CallFormat(
        "apriel",
        ("<tool_calls>[",),
        "<tool_calls>",
        ('{"name": "', *_JSON),
        opening="<tool_calls>[",
        between=", ",
        closing="]</tool_calls>",
    ),
    CallFormat(
        "minimax-m1",
        ("<tool_calls>\n",),
        "<tool_calls>",
        ('{"name": "', *_JSON, "\n"),
        opening="<tool_calls>\n",
        closing="</tool_calls>",
    ),
    CallFormat(
        "llama-3",
        ('"parameters": ', "ipython"),
        '{"name": "',
        ('{"name": "', Slot.NAME, '", "parameters": ', Slot.ARGUMENTS, "}"),
        alone=True,
        parallel=False,
    ),
)

THOUGHTS = (
    Thoughts("<think>", "</think>"),
    Thoughts("[THINK]", "[/THINK]"),
    Thoughts("<seed:think>", "</seed:think>"),
    Thoughts("<|START_THINKING|>", "<|END_THINKING|>"),
    Thoughts("<|inner_prefix|>", "<|inner_suffix|>"),
)


def call_format(template: str) -> CallFormat | None:
    """The first format of the table that a chat template speaks."""
    return next((each for each in CALL_FORMATS if all(sign in template for sign in each.signs)), None)


def shown_format(prompt: str, function: str, arguments: Mapping[str, str]) -> CallFormat | None:
    """The first format of the table in which a prompt calls a function with these arguments."""
    shown = (
        each
        for each in CALL_FORMATS
        if _begins(each, function, arguments) in prompt and each.closing in prompt
    )
    return next(shown, None)


def _begins(call_format: CallFormat, function: str, arguments: Mapping[str, str]) -> str:
    """How a call is written up to the first thing that can be written in several ways."""
    text = call_format.opening
    for step in call_format.call:
        if isinstance(step, str):
            text += step
        elif step is Slot.NAME:
            text += function
        else:
            shape = call_format.parameters
            if step is not Slot.ARGUMENTS or shape is None:
                break
            listed = (shape.before + name + shape.middle + value for name, value in arguments.items())
            return text + shape.after.join(listed)
    return text


def thoughts(template: str) -> Thoughts | None:
    """How the answers to a chat template mark thoughts, if they do."""
    return next((each for each in THOUGHTS if each.closing in template), None)


def is_harmony(template: str) -> bool:
    """Whether answers are messages on channels."""
    return all(sign in template for sign in HARMONY_SIGNS)
