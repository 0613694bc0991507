"""How one model chats: what its template can be given, and how its answers are written and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Union

from . import formats, harmony
from .describing import with_tools_told, without_calls
from .formats import CallFormat
from .grammar import ControlToken, Grammar, after_thoughts, harmony_answer, raw_strings, tools_answer
from .reader import MarkedReader, PlainReader, Reader

if TYPE_CHECKING:
    from tabagent_model.types import Message, ResponseFormat, TemplateOption

ToolChoice = Union[Literal["auto", "none", "required"], "dict[str, Any]"]
"""Whether tools are called, or which one: `{"type": "function", "function": {"name": …}}`."""


@dataclass(frozen=True)
class ChatInputs:
    """What a template is given."""

    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    options: Mapping[str, TemplateOption] = field(default_factory=dict)
    add_generation_prompt: bool = True


Prompt = list[tuple[str, bool]]
"""A prompt in stretches, as `PyModel.prompt_pieces` gives it: text, and whether control tokens are meant."""
Render = Callable[[ChatInputs], Prompt]
"""The model's template."""


def written(prompt: Prompt) -> str:
    """A prompt as one text."""
    return "".join(text for text, _ in prompt)


@dataclass(frozen=True)
class Plan:
    """How an answer is asked for and read: the prompt, and options of the generation."""

    prompt: Prompt
    reader: Reader
    response_format: ResponseFormat | None
    spelled: dict[int, str]
    short_ids: bool = False


class ChatStyle:
    """Plans chats with one model."""

    def __init__(self, template: str | None, render: Render, control_token: ControlToken) -> None:
        """`template` is the model's own, if it has one; `control_token` gives ids of control tokens by how
        they are written."""
        known = template or ""
        self._render = render
        self._control_token = control_token
        self._harmony = formats.is_harmony(known)
        self._thoughts = None if self._harmony else formats.thoughts(known)
        self._template = known
        self._known_abilities: _Abilities | None = None

    @property
    def call_format(self) -> CallFormat | None:
        """How calls are written, if that is in the table and the model's own template tells of tools."""
        return self._abilities.calls

    def plan(
        self,
        inputs: ChatInputs,
        choice: ToolChoice | None = None,
        parallel: bool = True,
        response_format: ResponseFormat | None = None,
    ) -> Plan:
        """How to have a conversation answered. Raises ValueError for what does not go together."""
        offered = self._offered(inputs.tools, choice)
        if offered and response_format is not None:
            raise ValueError("response_format does not go with tools: an answer calls them or is of a form")
        prompt = self.prompt(inputs if offered else replace(inputs, tools=None))
        grammar = Grammar(self._control_token)
        if self._harmony:
            return self._harmony_plan(prompt, grammar, offered, choice, response_format)
        thinking = self._thoughts is not None and _is_open(prompt, self._thoughts)
        self._spell_thoughts(grammar)
        if not offered:
            if response_format is not None and thinking:
                body = grammar.part("answer", response_format)
                response_format = grammar.answer(after_thoughts(grammar, body, self._thoughts, thinking))
            reader: Reader = PlainReader()
            if self._thoughts is not None and (thinking or response_format is None):
                reader = MarkedReader(self._thoughts, thinking)
            return Plan(prompt, reader, response_format, grammar.spelled)
        call_format = self.call_format or formats.HERMES
        tools = [tool for _, tool in offered]
        form = tools_answer(
            grammar,
            call_format,
            tools,
            "auto" if choice in (None, "auto") else "required",
            parallel and not isinstance(choice, dict),
            self._thoughts,
            thinking,
            [number for number, _ in offered],
        )
        reader = MarkedReader(self._thoughts, thinking, call_format, raw_strings(tools))
        return Plan(prompt, reader, form, grammar.spelled, call_format.short_ids)

    def _harmony_plan(
        self,
        prompt: Prompt,
        grammar: Grammar,
        offered: list[tuple[int, dict[str, Any]]],
        choice: ToolChoice | None,
        response_format: ResponseFormat | None,
    ) -> Plan:
        for mark in harmony.MARKS:
            grammar.mark(mark)
        reader = harmony.HarmonyReader()
        if offered:
            numbers, tools = [number for number, _ in offered], [tool for _, tool in offered]
            kind: Literal["auto", "required"] = "auto" if choice in (None, "auto") else "required"
            response_format = harmony_answer(grammar, tools, kind, numbers)
        elif response_format is not None:
            final = grammar.literal("<|channel|>final<|message|>")
            body = f"{final} {grammar.part('answer', response_format)}"
            response_format = grammar.answer(body)
        return Plan(prompt, reader, response_format, grammar.spelled)

    def _spell_thoughts(self, grammar: Grammar) -> None:
        if self._thoughts is not None:
            grammar.mark(self._thoughts.opening)
            grammar.mark(self._thoughts.closing)

    def _offered(
        self, tools: list[dict[str, Any]] | None, choice: ToolChoice | None
    ) -> list[tuple[int, dict[str, Any]]]:
        """The tools that may be called, with their places in the request. Raises ValueError."""
        numbered = list(enumerate(tools or []))
        if choice == "none":
            return []
        if isinstance(choice, dict):
            name = choice["function"]["name"]
            numbered = [each for each in numbered if each[1]["function"]["name"] == name]
            if not numbered:
                raise ValueError(f"tool_choice names {name!r}, which is none of the tools")
        elif choice == "required" and not numbered:
            raise ValueError("tool_choice is required, but there are no tools")
        return numbered

    def prompt(self, inputs: ChatInputs) -> Prompt:
        """What a conversation is to the model: by its template, and where that knows no tools, or does not
        write calls of earlier turns, with them told in plain text."""
        tools, messages = inputs.tools, inputs.messages
        with_calls = any(message["role"] == "tool" or message.get("tool_calls") for message in messages)
        tells = bool(tools) and not self._harmony and self.call_format is None
        if with_calls and (tells or not self._abilities.history):
            messages = without_calls(messages)
        if tools and tells:
            messages, tools = with_tools_told(messages, tools), None
        return self._render(replace(inputs, messages=messages, tools=tools))

    @property
    def _abilities(self) -> _Abilities:
        if self._known_abilities is None:
            self._known_abilities = _Abilities.tried(self._template, self._render)
        return self._known_abilities


@dataclass(frozen=True)
class _Abilities:
    """What a template writes of what it is given."""

    calls: CallFormat | None
    """How calls are written by a model that was told of tools by it; `None` where it knows none, or writes
    them in a way that is not known."""
    history: bool
    """Whether it writes calls of earlier turns, and their results."""

    @classmethod
    def tried(cls, template: str, render: Render) -> _Abilities:
        """Find out by giving it some."""
        tool = {
            "type": "function",
            "function": {
                "name": "probe_name",
                "description": "Probes.",
                "parameters": {
                    "type": "object",
                    "properties": {"at": {"type": "string"}, "on": {"type": "string"}},
                },
            },
        }
        arguments = {"at": "probe_at", "on": "probe_on"}
        call = {
            "id": "probe0001",
            "type": "function",
            "function": {"name": "probe_call", "arguments": arguments},
        }
        ask: Message = {"role": "user", "content": "probe"}
        calls: Message = {"role": "assistant", "content": "", "tool_calls": [call]}
        result: Message = {
            "role": "tool",
            "content": "probe_result",
            "name": "probe_call",
            "tool_call_id": "probe0001",
        }
        history = _written(render, ChatInputs([ask, calls, result], [tool]))
        writes_calls = "probe_call" in history and "probe_at" in history
        found = None
        if "probe_name" in _written(render, ChatInputs([ask], [tool])):
            # Where it writes no calls of earlier turns, the marks that it names must do.
            shown = formats.shown_format(history, "probe_call", arguments)
            found = shown if writes_calls else formats.call_format(template)
        return cls(found, writes_calls and "probe_result" in history)


def _written(render: Render, inputs: ChatInputs) -> str:
    try:
        return written(render(inputs))
    except Exception:  # noqa: BLE001 - whatever refuses it does not write it
        return ""


def _is_open(prompt: Prompt, thoughts: formats.Thoughts) -> bool:
    """Whether a prompt ends with the beginning of thoughts."""
    return written(prompt).rstrip().endswith(thoughts.opening)
