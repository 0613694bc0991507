"""Markdown while it is being written."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_host.cli.markdown import MarkdownLight, Styled


def merged(runs: list[Styled]) -> list[Styled]:
    whole: list[Styled] = []
    for text, style in runs:
        if whole and whole[-1][1] == style:
            whole[-1] = (whole[-1][0] + text, style)
        else:
            whole.append((text, style))
    return whole


def shown(*pieces: str) -> list[Styled]:
    markdown = MarkdownLight()
    runs = [run for piece in pieces for run in markdown.feed(piece)]
    return merged(runs + markdown.finish())


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("plain", [("plain", "")]),
        ("a **b** c", [("a ", ""), ("b", "bold"), (" c", "")]),
        ("run `x * y` now", [("run ", ""), ("x * y", "cyan"), (" now", "")]),
        ("# Title\ntext", [("Title", "bold underline"), ("\ntext", "")]),
        ("no #hash and 2 * 3", [("no #hash and 2 * 3", "")]),
        ("#hash", [("#hash", "")]),
        ("* item", [("* item", "")]),
        ("```sh\nls **\n```\nend", [("ls **\n", "cyan"), ("end", "")]),
        ("**left open\nnext", [("left open", "bold"), ("\nnext", "")]),
        ("ends with `", [("ends with ", "")]),
        ("ends with *", [("ends with *", "")]),
    ],
)
def test_marks_become_styles(text: str, runs: list[Styled]) -> None:
    assert shown(text) == runs


@given(text=st.text(alphabet="ab *`#\n", max_size=60), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_pieces_of_any_size_look_the_same(text: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert shown(*pieces) == shown(text)


@given(text=st.text(alphabet="ab \n", max_size=60))
def test_text_without_marks_stays_as_it_is(text: str) -> None:
    assert "".join(run for run, _ in shown(text)) == text


def test_only_marks_wait() -> None:
    markdown = MarkdownLight()
    assert markdown.feed("word") == [("word", "")]
    assert markdown.feed(" *") == [(" ", "")]
    assert markdown.feed("x") == [("*x", "")]
