"""A template comes with a model file: it can neither take a machine's memory nor end the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tabagent_model
from tabagent_model.types import Message

from .hostile import HOSTILE

_ROOM = 512 << 20
"""More than any of them takes by far, and much less than what it asks for."""
_CHILD = """
import os, sys
import tabagent_model
from native_host.platform.process_memory import most_held  # getrusage remembers the parent's memory too
from tests.templates.hostile import HOSTILE

try:
    tabagent_model.render_template(HOSTILE[sys.argv[1]], [{"role": "user", "content": "Hi"}])
except tabagent_model.TemplateError as error:
    print(most_held(os.getpid()), error)
"""
USER: list[Message] = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("name", HOSTILE)
def test_it_ends_with_an_error_and_leaves_memory(name: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, name], cwd=root, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == 0
    held, problem = done.stdout.split(maxsplit=1)
    assert int(held) < _ROOM
    assert problem.strip()


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 'a\\nb' | indent(2, first=true) }}", "  a\n  b"),
        ("{{ 'a\\nb' | indent(width=3) }}", "a\n   b"),
        ("{{ [{'a': 1}, {'a': 2}] | join(', ', attribute='a') }}", "1, 2"),
        ("{{ ['a', 'b'] | map('replace', 'a', 'c') | join }}", "cb"),
        ("{{ 'a-b'.replace('-', '+') }}{{ '%s%d' | format('c', 3) }}", "a+bc3"),
        ("{{ '{}:{}'.format(1, 'x') }}{{ '{{{}}}'.format(2) }}", "1:x{2}"),
        ("{{ '=' * 40 }}", "=" * 40),
        ("{% for i in range(3) %}{{ [i] + [1] }}{{ loop.index }}{% endfor %}", "[0, 1]1[1, 1]2[2, 1]3"),
        ("{% for x in [1, [2]] recursive %}{{ loop(x) if x is sequence else x }}{% endfor %}", "12"),
        ("{% macro m(x) %}<{{ x }}{{ caller() }}>{% endmacro %}{% call m(1) %}y{% endcall %}", "<1y>"),
        (
            "{% set n = namespace(x=1) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}",
            "4",
        ),
        (
            "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i > 2 %}{% break %}{% endif %}"
            "{{ i }}{% endfor %}",
            "02",
        ),
        ("{% for i in [] %}x{% else %}{{ 'a' if 1 < 2 < 3 and not false or 1 else 'b' }}{% endfor %}", "a"),
        ("{% set x %}a{{ 1 }}{% endset %}{{ x }}{% filter upper %}b{{ x }}{% endfilter %}", "a1BA1"),
    ],
)
def test_checks_change_nothing(template: str, expected: str) -> None:
    assert tabagent_model.render_template(template, USER) == expected


def test_a_long_conversation_is_no_attack() -> None:
    texts = [f"{index} " + "word " * 400 for index in range(100)]
    messages: list[Message] = [{"role": "user", "content": text} for text in texts]
    template = (
        "{% set all = namespace(text='') %}{% for message in messages %}"
        "{% set rest = messages[loop.index:] %}"
        "{% set all.text = all.text + message.role + ': ' + message.content | trim + '\\n' %}"
        "{% endfor %}{{ all.text }}"
    )
    rendered = tabagent_model.render_template(template, messages)
    assert rendered == "".join(f"user: {text.strip()}\n" for text in texts)
