"""Chat templates: rendered as Transformers renders them, and unable to do harm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import gguf
import pytest
from tabagent_model import InvalidArgumentError, PyModel, TemplateError
from tabagent_model.types import Message

USER: list[Any] = [{"role": "user", "content": "Hi <there> & 'you'"}]
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": "look_up", "parameters": {"z": 1, "a": [True, None, 1.5], "ü": "ü"}},
    }
]

Render = Callable[..., str]


@pytest.fixture
def render(library: str, tmp_path: Path) -> Render:
    """Renders a template by a vocabulary that holds it; None stands for a model without one."""

    def render(template: str | None, messages: list[Any] = USER, **options: Any) -> str:  # noqa: ANN401 - passed on
        path = tmp_path / "template.gguf"
        writer = gguf.GGUFWriter(str(path), "llama")
        tokens = [bytes([byte]).decode("latin-1") for byte in range(33, 127)]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list([*tokens, "<s>", "</s>"])
        writer.add_token_types([1] * len(tokens) + [3, 3])
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(len(tokens))
        writer.add_eos_token_id(len(tokens) + 1)
        if template is not None:
            writer.add_chat_template(template)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        with PyModel() as model:
            model.load(library, path, vocab_only=True)
            return model.apply_template(messages, **options)

    return render


def test_the_models_own_template(model: PyModel) -> None:
    prompt = model.apply_template([*USER, {"role": "assistant", "content": "Hello"}, *USER])
    assert prompt.count("Hi <there> & 'you'") == 2
    assert prompt.endswith("assistant\n")
    assert not model.apply_template(USER, add_generation_prompt=False).endswith("assistant\n")


def test_a_model_without_a_template_gets_chatml(render: Render) -> None:
    assert render(None) == "<|im_start|>user\nHi <there> & 'you'<|im_end|>\n<|im_start|>assistant\n"
    assert render(None, add_generation_prompt=False).endswith("<|im_end|>\n")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ messages[0].content }}", "Hi <there> & 'you'"),
        ("{{ messages[0]['role'].upper().strip() }}", "USER"),
        ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
        ("{% for m in messages %}\n  {{ m.role }}\n{% endfor %}", "  user\n"),
        ("{{ missing }}{{ messages[0].missing }}.", "."),
        ("{{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a', none] }}", "None True 1.0 [1, 'a', None]"),
        ("{% if tools is none %}no{% endif %} {{ tools is defined }}", "no True"),
        (
            "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i > 4 %}{% break %}{% endif %}"
            "{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
            "10",
        ),
        ("{{ messages[::-1][0].role }}{{ 'a,b'.split(',')[-1] }}{{ 'x' * 3 }}", "userbxxx"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        ("{% generation %}{{ messages[0].role }}{%- endgeneration -%} !", "user!"),
        ("{{ tools is iterable and tools | length > 0 }}{{ messages is iterable }}", "FalseTrue"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('a') }}", "<a>"),
        ("{{ messages[0].items() | list }}", "[('role', 'user'), ('content', \"Hi <there> & 'you'\")]"),
        ("{{ 'ends' if 'abc'.endswith('c') and not 'abc'.startswith('x') }}", "ends"),
        ("{%- if messages[0].content is string -%} s {%- endif -%}", "s"),
    ],
)
def test_jinja_as_templates_use_it(render: Render, template: str, expected: str) -> None:
    assert render(template) == expected


@pytest.mark.parametrize(
    "options", [{}, {"indent": 2}, {"ensure_ascii": True}, {"sort_keys": True}, {"indent": 4}]
)
def test_tojson_is_pythons(render: Render, options: dict[str, Any]) -> None:
    arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in options.items())
    template = "{{ tools[0] | tojson(" + arguments + ") }}"
    assert render(template, tools=TOOLS) == json.dumps(TOOLS[0], **{"ensure_ascii": False, **options})


def test_tojson_of_what_is_empty(render: Render) -> None:
    assert render("{{ {'a': [], 'b': {}, 'c': [[]]} | tojson(indent=1) }}") == json.dumps(
        {"a": [], "b": {}, "c": [[]]}, indent=1
    )


def test_documents_and_switches(render: Render) -> None:
    template = "{{ documents[0].text }}|{{ enable_thinking }}|{{ kwargs.depth[1] }}|{{ absent is defined }}"
    rendered = render(template, documents=[{"text": "d"}], enable_thinking=False, kwargs={"depth": [1, 2]})
    assert rendered == "d|False|2|False"
    assert render("{{ documents is none }} {{ bos_token }}", documents=[], bos_token="x") == "True x"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"tools": {}}, "tools is not a list"),
        ({"tools": ["look"]}, r"tools\[0\] is not a dict"),
        ({"documents": [{}, 5]}, r"documents\[1\] is not a dict"),
        ({"enable_thinking": object()}, "options cannot be written as JSON"),
    ],
)
def test_what_is_given_beside_messages(render: Render, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        render("x", **options)


def test_thoughts_by_any_name(render: Render) -> None:
    for name in ("reasoning_content", "thinking", "reasoning"):
        said = [{"role": "assistant", "content": "a", name: "hm"}]
        assert render("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}", said) == "hmhm"


def test_parts_are_given_to_templates_that_read_them(render: Render) -> None:
    parts = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "tool_calls": [{}]},
    ]
    assert render("{% for part in messages[0].content %}<{{ part.text }}>{% endfor %}", parts) == "<a><b>"
    assert render("{{ messages[0].content }}{{ messages[1].content }}.", parts) == "ab."
    assert render("{{ messages[0].content + messages[1].content }}", parts) == "ab"


def test_white_space_is_pythons(render: Render) -> None:
    said = [{"role": "user", "content": "\x1f a\x1cb\x85c \u2028"}]
    template = "{{ messages[0].content.strip() }}|{{ messages[0].content | trim }}"
    assert render(template, said) == "a\x1cb\x85c|a\x1cb\x85c"
    for method in ("split", "splitlines"):
        expected = getattr(said[0]["content"], method)()
        assert render("{{ messages[0].content." + method + "() | tojson }}", said) == json.dumps(
            expected, ensure_ascii=False
        )


def test_dates(render: Render) -> None:
    before = datetime.now().astimezone()
    rendered = render("{{ strftime_now('%d %B %Y|%A %b %y %-d|%Y-%m-%d') }}")
    after = datetime.now().astimezone()
    spelled = "%d %B %Y|%A %b %y {day}|%Y-%m-%d"
    assert rendered in {moment.strftime(spelled.format(day=moment.day)) for moment in (before, after)}
    with pytest.raises(TemplateError, match="strftime_now"):
        render("{{ strftime_now('%Q') }}")


def test_a_template_refuses_in_its_own_words(render: Render) -> None:
    with pytest.raises(TemplateError, match="Roles must alternate"):
        render("{{ raise_exception('Roles must alternate') }}")


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{% for i in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxx' }}{% endfor %}",
        "{{ 'x' * 999999999 }}",
        "{{ range(999999999) | list }}",
        "{% include 'secret' %}",
        "{% import 'os' as os %}",
        "{% extends 'base' %}",
        "{{ open('/etc/passwd') }}",
        "{{ ''.__class__.__mro__ }}{{ 1 / 0 }}",
        "{{ messages.append(1) }}",
        "{% for %}",
        "{{",
        "{{ messages | no_such_filter }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    ],
)
def test_templates_that_would_do_harm(render: Render, template: str) -> None:
    started = time.monotonic()
    with pytest.raises(TemplateError):
        render(template)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "messages is empty"),
        ("hello", "not a list"),
        ([5], r"messages\[0\] is not a dict"),
        ([{"content": "x"}], r"messages\[0\] has no role"),
        ([{"role": "user"}], r"messages\[0\] has no content"),
        ([*USER, {"role": "user", "content": 5}], r"messages\[1\] has no content"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "other than text"),
        ([{"role": "user", "content": float("nan")}], "JSON"),
        ([{"role": "user", "content": object()}], "JSON"),
    ],
)
def test_conversations_that_are_none(model: PyModel, messages: list[Message], problem: str) -> None:
    with pytest.raises(InvalidArgumentError, match=problem):
        model.apply_template(messages)


def test_parts_of_text_are_joined(model: PyModel) -> None:
    parts: list[Message] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}
    ]
    assert model.apply_template(parts) == model.apply_template([{"role": "user", "content": "ab"}])
