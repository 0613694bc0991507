"""Answers are read as they come: however they are cut, the parts are the same."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from tabagent_model.chat.formats import CALL_FORMATS, HERMES, THOUGHTS, CallFormat, Thoughts
from tabagent_model.chat.grammar import raw_strings
from tabagent_model.chat.harmony import HarmonyReader
from tabagent_model.chat.reader import MarkedReader, PlainReader, Reader

from .writing import TOOLS, written

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"city": 'Kraków "{[<\\ \n', "days": 3, "at": {"hour": 7}}),
    ("now", {}),
    ("get_weather", {"city": "Łódź", "unit": "celsius"}),
]
THINK = Thoughts("<think>", "</think>")
BY_NAME = {each.name: each for each in CALL_FORMATS}


class Read:
    """All that a reader told."""

    def __init__(self, reader: Reader, pieces: list[str]) -> None:
        self.text = self.reasoning = ""
        self.calls: list[tuple[str, str]] = []
        for news in [*map(reader.push, pieces), reader.finish()]:
            self.text += news.text
            self.reasoning += news.reasoning
            for call in news.calls:
                if call.name is not None:
                    assert call.index == len(self.calls)
                    self.calls.append((call.name, call.arguments))
                else:
                    name, arguments = self.calls[call.index]
                    self.calls[call.index] = (name, arguments + call.arguments)
        self.called = reader.called

    def parts(self) -> tuple[object, ...]:
        return self.text, self.reasoning, self.calls, self.called


def cut(text: str, generator: random.Random) -> list[str]:
    """A text in pieces of any length, empty ones too."""
    places = sorted(generator.randrange(len(text) + 1) for _ in range(generator.randrange(1, 30)))
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


def reader_of(
    call_format: CallFormat | None, thoughts: Thoughts | None = None, thinking: bool = False
) -> Reader:
    return MarkedReader(thoughts, thinking, call_format, raw_strings(TOOLS))


def arguments_of(read: Read) -> list[tuple[str, object]]:
    return [(name, json.loads(arguments)) for name, arguments in read.calls]


@pytest.mark.parametrize("name", BY_NAME)
def test_calls_are_read_in_every_format(name: str) -> None:
    call_format = BY_NAME[name]
    calls = CALLS if call_format.parallel else CALLS[:1]
    read = Read(reader_of(call_format), [written(call_format, calls)])
    assert arguments_of(read) == calls
    assert (read.text, read.reasoning, read.called) == ("", "", True)


@pytest.mark.parametrize("name", BY_NAME)
def test_text_around_calls_is_kept(name: str) -> None:
    call_format = BY_NAME[name]
    if call_format.alone:
        read = Read(reader_of(call_format), ["I look. " + written(call_format, CALLS[:1])])
        assert (read.calls, read.text) == ([], "I look. " + written(call_format, CALLS[:1]))
        return
    answer = f"I look.\n\n{written(call_format, CALLS[:1])}\nAnd: {written(call_format, CALLS[1:])}\n Done."
    read = Read(reader_of(call_format), [answer])
    assert (arguments_of(read), read.text, read.called) == (CALLS, "I look.\nAnd:\n Done.", True)


@pytest.mark.parametrize("name", BY_NAME)
def test_however_an_answer_is_cut_its_parts_are_the_same(name: str) -> None:
    generator = random.Random(name)
    call_format = BY_NAME[name]
    calls = written(call_format, CALLS if call_format.parallel else CALLS[:1])
    say = "" if call_format.alone else f" Well {call_format.trigger[:-1]} <tool> \n"
    for _ in range(150):
        thoughts = generator.choice([None, *THOUGHTS])
        thinking = thoughts is not None and generator.random() < 0.5
        answer = say + calls + say
        if thoughts is not None:
            begun = "" if thinking else generator.choice(["", " \n"]) + thoughts.opening
            answer = f"{begun} hm {thoughts.closing[:-2]} \n {thoughts.closing}\n\n{answer}"
        # Some answers end too early.
        answer = answer[: generator.choice([len(answer), generator.randrange(len(answer) + 1)])]
        whole = Read(reader_of(call_format, thoughts, thinking), [answer])
        for pieces in (cut(answer, generator), list(answer)):
            assert Read(reader_of(call_format, thoughts, thinking), pieces).parts() == whole.parts()


def test_nothing_of_a_mark_leaks_into_the_text() -> None:
    answer = "Yes. " + written(HERMES, CALLS)
    for end in range(len(answer) + 1):
        reader = reader_of(HERMES)
        said = "".join(reader.push(character).text for character in answer[:end])
        assert "Yes.".startswith(said)


def test_what_only_looks_like_a_call_is_text() -> None:
    for answer in ("a <tool_call> b", "<tool_call>", '<tool_call>\n{"name": 5}', "x <tool_ca", "<<tool_call"):
        read = Read(reader_of(HERMES), list(answer))
        assert (read.text, read.calls, read.called) == (answer, [], False)


def test_a_call_after_what_only_looks_like_one_is_read() -> None:
    read = Read(reader_of(HERMES), ["<tool_call> is how. " + written(HERMES, CALLS[1:2])])
    assert (read.text, read.calls) == ("<tool_call> is how.", [("now", "{}")])


def test_a_call_that_is_cut_short_keeps_what_there_is() -> None:
    whole = written(HERMES, CALLS[:1])
    read = Read(reader_of(HERMES), [whole[: whole.index("days")]])
    assert read.calls[0][0] == "get_weather"
    assert json.dumps(CALLS[0][1], ensure_ascii=False).startswith(read.calls[0][1])
    assert not read.called


def test_thoughts_are_told_apart() -> None:
    read = Read(reader_of(None, THINK), ["<think>\nSo.\n\nThen.\n</think>\n\n Yes, <think> it is.\n"])
    assert (read.reasoning, read.text) == ("So.\n\nThen.", "Yes, <think> it is.\n")


def test_thoughts_that_the_prompt_began() -> None:
    read = Read(reader_of(None, THINK, thinking=True), ["So.\n</think>Yes."])
    assert (read.reasoning, read.text) == ("So.", "Yes.")
    unfinished = Read(reader_of(None, THINK, thinking=True), ["So.\n</thi"])
    assert (unfinished.reasoning, unfinished.text) == ("So.\n</thi", "")


def test_an_answer_without_thoughts_is_text() -> None:
    for answer in ("", " ", "\n<thin", "No.", " \n No <think>x</think>"):
        assert Read(reader_of(None, THINK), list(answer)).text == answer


def test_a_plain_answer_is_what_it_is() -> None:
    assert Read(PlainReader(), ["<think>", "</think> <tool_call>"]).text == "<think></think> <tool_call>"


HARMONY = (
    "<|channel|>analysis<|message|>I must < look.<|end|><|start|>assistant<|channel|>commentary<|message|>"
    "I look.<|end|><|start|>assistant<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}"
)


def test_messages_on_channels() -> None:
    read = Read(HarmonyReader(), [HARMONY])
    assert read.parts() == ("I look.", "I must < look.", [("now", "{}")], True)
    final = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Yes."
    assert Read(HarmonyReader(), [final]).parts() == ("Yes.", "Hm.", [], False)
    named_first = ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "x"}'
    assert Read(HarmonyReader(), [named_first]).calls == [("get_weather", '{"city": "x"}')]


def test_however_messages_on_channels_are_cut_their_parts_are_the_same() -> None:
    generator = random.Random(5)
    for _ in range(300):
        answer = HARMONY[: generator.randrange(len(HARMONY) + 1)]
        whole = Read(HarmonyReader(), [answer]).parts()
        assert Read(HarmonyReader(), cut(answer, generator)).parts() == whole
        assert Read(HarmonyReader(), list(answer)).parts() == whole


def test_an_answer_of_gpt_oss_without_a_header_is_text() -> None:
    for pieces in (["Hello, plain answer"], list("Hello, plain answer")):
        assert Read(HarmonyReader(), pieces).parts() == ("Hello, plain answer", "", [], False)
    for begun in ("<|channel|>final", " to=functions.now", "<|channel|>analysis<|message|>Hm.<|end|>And"):
        assert Read(HarmonyReader(), [begun]).text == ""


@pytest.mark.parametrize("name", ["ling", "glm-compact"])
def test_the_mark_of_a_values_end_may_stand_in_a_string_of_its_json(name: str) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [("get_weather", {"at": {"a": 'x\\"</arg_value>', "b": 1}})]
    answer = written(BY_NAME[name], calls)
    for pieces in ([answer], list(answer)):
        read = Read(reader_of(BY_NAME[name]), pieces)
        assert (arguments_of(read), read.text, read.called) == (calls, "", True)


@pytest.mark.parametrize("name", [name for name, each in BY_NAME.items() if each.closing])
def test_half_of_the_mark_after_calls_is_no_text(name: str) -> None:
    call_format = BY_NAME[name]
    answer = written(call_format, CALLS[:2])
    for left in range(1, len(call_format.closing)):
        read = Read(reader_of(call_format), [answer[:-left]])
        assert (arguments_of(read), read.text) == (CALLS[:2], "")


def test_only_what_may_be_a_call_is_held() -> None:
    reader = MarkedReader(calls=HERMES)
    for answer in ("word " * 50, written(HERMES, CALLS[:1]), " word" * 50):
        reader.push(answer)
    assert reader._raw == ""
