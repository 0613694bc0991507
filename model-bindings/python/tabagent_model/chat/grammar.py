"""The grammar of an answer that may, or must, call tools: text as the model likes it up to the mark of a
call, then nothing but a call whose arguments are of their schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import harmony
from .formats import CallFormat, Parameters, Slot, Thoughts

if TYPE_CHECKING:
    from tabagent_model.types import ResponseFormat

_MARK = re.compile(r"<\|[^<>|]+\|>|<｜[^<>｜]+｜>|<[/A-Za-z_:]+>|\[/?[A-Z_]+\]")
_ANY = "/(?s:.*)/"
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$#&~/\-]")
_NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_COMBINED = ("additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref", "not", "if")
_UNNAMEABLE = re.compile(r"[^A-Za-z0-9-]")
_SPELLED_OUT = re.compile(r"_([0-9a-f]+)_")

ControlToken = Callable[[str], "int | None"]
"""The id of a control token by how it is written; `None` for what is none."""


class Grammar:
    """Lark rules, and the forms that they refer to by `@name`."""

    def __init__(self, control_token: ControlToken) -> None:
        self._control_token = control_token
        self._rules: list[str] = []
        self._names: dict[str, str] = {}
        self.parts: dict[str, ResponseFormat] = {}
        self.spelled: dict[int, str] = {}
        """Control tokens that the grammar names."""

    def answer(self, start: str) -> ResponseFormat:
        """The form of the whole answer."""
        return {
            "type": "grammar",
            "grammar": "\n".join([f"start: {start}", *self._rules]),
            "parts": self.parts,
        }

    def rule(self, body: str, attributes: str = "") -> str:
        """A rule of this body."""
        return self._named("r", body, attributes)

    def terminal(self, body: str) -> str:
        """A terminal of this body."""
        return self._named("T", body, "")

    def part(self, name: str, form: ResponseFormat) -> str:
        """A form by a name."""
        self.parts[name] = form
        return f"@{name}"

    def mark(self, text: str) -> str | None:
        """A control token as a grammar names it; `None` for what is none."""
        token = self._control_token(text)
        if token is None:
            return None
        self.spelled[token] = text
        return f"<[{token}]>"

    def literal(self, text: str) -> str:
        """Exactly this text, with control tokens where it names some."""
        pieces: list[str] = []
        plain = ""
        position = 0
        for found in _MARK.finditer(text):
            token = self.mark(found[0])
            if token is None:
                continue
            plain += text[position : found.start()]
            pieces += [_quoted(plain)] if plain else []
            pieces.append(token)
            plain, position = "", found.end()
        plain += text[position:]
        return " ".join(pieces + ([_quoted(plain)] if plain else []))

    def text(self, without: Sequence[str] = (), not_first: Sequence[str] = ()) -> str:
        """Any text that does not hold, or does not begin with, certain marks."""
        return self.terminal(_text(without, not_first))

    def up_to(self, mark: str, not_first: Sequence[str] = ()) -> str:
        """Any text up to the first such mark, and the mark."""
        token = self.mark(mark)
        if token is not None:
            return self.rule(f"{self.text([mark], not_first)} {token}")
        ends = self.terminal(f"({_text([mark], not_first)}) {_quoted(mark)}")
        return self.rule(ends, "[lazy]")

    def _named(self, prefix: str, body: str, attributes: str) -> str:
        key = f"{prefix}{attributes}: {body}"
        if key not in self._names:
            name = f"{prefix}{len(self._names)}"
            self._names[key] = name
            self._rules.append(f"{name}{attributes}: {body}")
        return self._names[key]


def tools_answer(
    grammar: Grammar,
    call_format: CallFormat,
    tools: Sequence[Mapping[str, Any]],
    choice: Literal["auto", "required"],
    parallel: bool,
    thoughts: Thoughts | None,
    thinking: bool,
    numbers: Sequence[int],
) -> ResponseFormat:
    """The form of an answer in a format of the table. `numbers` are the tools' places in the request."""
    opened = [thoughts.opening] if thoughts is not None and not thinking else []
    calls = _Calls(grammar, call_format, tools, numbers, parallel and call_format.parallel)
    if choice == "required":
        body = calls.alone()
    elif call_format.alone:
        body = f"{calls.alone()} | {grammar.text(not_first=[call_format.trigger, *opened])}"
    else:
        body = calls.beside_text(opened)
    blank = choice == "required"
    return grammar.answer(after_thoughts(grammar, grammar.rule(body), thoughts, thinking, blank))


def after_thoughts(
    grammar: Grammar, body: str, thoughts: Thoughts | None, thinking: bool, blank: bool = True
) -> str:
    """Thoughts, which may be or (where the prompt has begun them) must be there, and then the body. `blank`:
    the body does not begin with white space of its own."""
    if thoughts is None:
        return body
    space = grammar.terminal(r"/[ \t\r\n]{1,8}/") + "? " if blank else ""
    if thinking:
        return f"{grammar.up_to(thoughts.closing)} {space}{body}"
    opening, closing = grammar.mark(thoughts.opening), grammar.mark(thoughts.closing)
    if opening is not None:
        return f"({opening} {grammar.up_to(thoughts.closing)} {space})? {body}"
    begun = f"/\\s*/ {_quoted(thoughts.opening)} ({_text([thoughts.closing])})"
    if closing is not None:
        return f"({grammar.terminal(begun)} {closing} {space})? {body}"
    whole = grammar.rule(grammar.terminal(f"{begun} {_quoted(thoughts.closing)}"), "[lazy]")
    return f"({whole} {space})? {body}"


def harmony_answer(
    grammar: Grammar,
    tools: Sequence[Mapping[str, Any]],
    choice: Literal["auto", "required"],
    numbers: Sequence[int],
) -> ResponseFormat:
    """The form of an answer of gpt-oss, which calls one function at most."""
    calls = []
    for number, tool in zip(numbers, tools, strict=True):
        function = tool["function"]
        arguments = _arguments(grammar, function, number)
        lead = grammar.literal(harmony.CALL + function["name"] + harmony.ARGUMENTS)
        calls.append(f"{lead} {arguments}")
    call = grammar.rule(" | ".join(calls))
    says = grammar.literal("<|message|>") + " " + grammar.text(harmony.MARKS)
    ended = f"{says} {grammar.literal('<|end|><|start|>assistant')}"
    before = f"({grammar.literal('<|channel|>')} ({_quoted('analysis')} | {_quoted('commentary')}) {ended})*"
    last = call
    if choice == "auto":
        channels = " | ".join(map(_quoted, ("analysis", "commentary", "final")))
        last = grammar.rule(f"{call} | {grammar.literal('<|channel|>')} ({channels}) {says}")
    return grammar.answer(f"{before} {last}")


def raw_strings(tools: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """By function, the parameters that some formats write as plain text."""
    return {
        tool["function"]["name"]: frozenset(
            name
            for name, schema in _parameters(tool["function"]).get("properties", {}).items()
            if _is_text(schema)
        )
        for tool in tools
    }


class _Calls:
    """Writes the rules of calls in a format of the table."""

    def __init__(
        self,
        grammar: Grammar,
        call_format: CallFormat,
        tools: Sequence[Mapping[str, Any]],
        numbers: Sequence[int],
        parallel: bool,
    ) -> None:
        self._grammar = grammar
        self._format = call_format
        self._functions = [(number, tool["function"]) for number, tool in zip(numbers, tools, strict=True)]
        self._parallel = parallel

    def alone(self) -> str:
        """Calls and nothing else."""
        return self._sequence(self._format.opening, self._any_call())

    def beside_text(self, opened: list[str]) -> str:
        """Calls with text around them: a mark ends a text and is the beginning of a call. What the answer
        begins with must not look like thoughts (`opened`), which are told apart by that.
        """
        grammar, trigger, opening = self._grammar, self._format.trigger, self._format.opening
        if opening:
            calls = self._sequence(opening.removeprefix(trigger), self._any_call())
        else:
            calls = self._any_call(trigger)
        after = grammar.rule(calls)
        only_text = grammar.text([trigger], opened)
        first = f"{grammar.up_to(trigger, opened)} {after}"
        if not self._parallel:
            return f"{only_text} | {first}"
        return f"{only_text} | {first} ({grammar.up_to(trigger)} {after})* {grammar.text([trigger])}"

    def _sequence(self, opening: str, call: str) -> str:
        literal, between = self._grammar.literal, self._grammar.literal(self._format.between)
        more = f" ({between} {call})*" if self._parallel else ""
        return f"{literal(opening)} {call}{more} {literal(self._format.closing)}"

    def _any_call(self, skipped: str = "") -> str:
        """A call of any of the functions, without its beginning where that is known to be there."""
        return self._grammar.rule(" | ".join(self._call(*each, skipped) for each in self._functions))

    def _call(self, number: int, function: Mapping[str, Any], skipped: str) -> str:
        pieces: list[str] = []
        plain = ""
        for step in self._format.call:
            if isinstance(step, str):
                plain += step
            elif step is Slot.NAME:
                plain += function["name"]
            else:
                pieces += [plain, self._slot(step, number, function)]
                plain = ""
        pieces.append(plain)
        pieces[0] = pieces[0].removeprefix(skipped)
        literals = [self._grammar.literal(piece) for piece in pieces[::2]]
        return " ".join(part for pair in zip(literals, [*pieces[1::2], ""], strict=True) for part in pair)

    def _slot(self, step: Slot, number: int, function: Mapping[str, Any]) -> str:
        if step is Slot.ID:
            return self._grammar.terminal("/[a-zA-Z0-9]{9}/")
        if step is Slot.NUMBER:
            return self._grammar.terminal("/[0-9]{1,3}/")
        if self._format.parameters is None:
            return _arguments(self._grammar, function, number)
        return _listed(self._grammar, self._format.parameters, function, number)


def _listed(grammar: Grammar, written: Parameters, function: Mapping[str, Any], number: int) -> str:
    """Parameters one by one, in the schema's order; those that are not required may be left out."""
    schema = _parameters(function)
    required = set(schema.get("required", ()))
    rules = []
    for name, of_parameter in schema.get("properties", {}).items():
        lead = grammar.literal(written.before + name + written.middle)
        value = _value(grammar, written, of_parameter, schema, part_name(number, name))
        rule = grammar.rule(f"{lead} {value}")
        rules.append(rule if name in required else f"{rule}?")
    return grammar.rule(" ".join(rules) or '""')


def _value(
    grammar: Grammar,
    written: Parameters,
    schema: Mapping[str, Any] | bool,
    root: Mapping[str, Any],
    part: str,
) -> str:
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    if not _is_text(schema):
        definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
        form: ResponseFormat = {"type": "json_schema", "json_schema": {**definitions, **schema}}
        return f"{grammar.part(part, form)} {grammar.literal(written.after)}"
    if "enum" in schema or "const" in schema:
        return "(" + " | ".join(grammar.literal(text + written.after) for text in _texts(schema, part)) + ")"
    return grammar.up_to(written.after)


def _texts(schema: Mapping[str, Any], part: str) -> list[str]:
    """The strings that a parameter of type string may be: other members of its enum never fit its type.
    Raises ValueError for none."""
    members = schema["enum"] if "enum" in schema else [schema["const"]]
    texts = [each for each in members if isinstance(each, str)] if isinstance(members, list) else []
    if not texts:
        number, _, spelled = part.removeprefix("tool_").partition("__")
        named = f"{parameter_of(spelled)!r} of tools[{number}]"
        raise ValueError(f"the parameter {named} is a string, but its enum or const has none")
    return texts


def part_name(number: int, parameter: str) -> str:
    """The name of a parameter's part: grammars name parts by few characters, so others are spelled out."""
    spelled = _UNNAMEABLE.sub(lambda found: f"_{ord(found[0]):x}_", parameter)
    return f"tool_{number}__{spelled}"


def parameter_of(spelled: str) -> str:
    """The parameter whose part's name ends so."""
    return _SPELLED_OUT.sub(lambda found: chr(int(found[1], 16)), spelled)


def _is_text(schema: object) -> bool:
    """Whether a parameter is a string, for formats that write strings as they are."""
    return isinstance(schema, Mapping) and schema.get("type") == "string"


def _arguments(grammar: Grammar, function: Mapping[str, Any], number: int) -> str:
    """Arguments as JSON."""
    schema = _parameters(function)
    if schema == _NO_PARAMETERS:
        return _quoted("{}")
    return grammar.part(f"tool_{number}", {"type": "json_schema", "json_schema": schema})


def _parameters(function: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a function's arguments, which are an object. Members that are not listed are left out:
    no function expects them, and a model that may go on often does.
    """
    given = function.get("parameters")
    if not given:
        return _NO_PARAMETERS
    return dict(_closed({"type": "object", **given}))


def _closed(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON document
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {name: _closed(each) for name, each in schema["properties"].items()}
        if not any(name in schema for name in _COMBINED):
            closed["additionalProperties"] = False
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    return closed


def _text(without: Sequence[str], not_first: Sequence[str] = ()) -> str:
    banned = [f"~/(?s:.*){_escaped(mark)}(?s:.*)/" for mark in without]
    banned += [rf"~/\s*{_escaped(mark)}(?s:.*)/" for mark in not_first]
    return " & ".join([_ANY, *banned])


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\g<0>", text).replace("\n", r"\n")
