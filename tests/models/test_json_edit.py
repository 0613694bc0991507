"""Members set inside a file that people write: everything else stays as it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native_host.models.json_edit import with_members

WRITTEN = """{
  "default": "a",
  "models": {
    "a": { "path": "a.gguf",   "threads": 4 },
    "b": {
      "path": "b \\u00e9 \\"quoted\\".gguf",
      "aliases": ["x", {"threads": 9}]
    },
    "c": {}
  }
}
"""


def test_a_value_is_replaced_in_its_place() -> None:
    edited = with_members(WRITTEN, ("models", "a"), {"threads": 2})
    assert edited == WRITTEN.replace('"threads": 4', '"threads": 2')


def test_a_new_member_is_written_as_its_neighbours_are() -> None:
    edited = with_members(WRITTEN, ("models", "b"), {"threads": 2, "kv_type": "q8_0"})
    assert edited == WRITTEN.replace(
        '{"threads": 9}]\n', '{"threads": 9}],\n      "threads": 2,\n      "kv_type": "q8_0"\n'
    )


def test_an_empty_object_gets_its_first_member() -> None:
    assert with_members(WRITTEN, ("models", "c"), {"mlock": True}) == WRITTEN.replace(
        '"c": {}', '"c": {"mlock": true}'
    )


def test_of_equal_names_the_last_counts() -> None:
    assert with_members('{"a": 1, "a": 2}', (), {"a": 3}) == '{"a": 1, "a": 3}'


@pytest.mark.parametrize("path", [("models", "d"), ("models", "a", "path"), ("default",)])
def test_an_object_that_is_not_there_is_named(path: tuple[str, ...]) -> None:
    with pytest.raises(KeyError, match=path[-1]):
        with_members(WRITTEN, path, {"threads": 1})


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        with_members('{"models": ', ("models",), {"threads": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(
    st.dictionaries(st.text(), JSON),
    st.text(),
    st.integers() | st.text(),
    st.sampled_from([None, 0, 2, "\t"]),
)
def test_the_document_means_the_same_but_for_the_member(
    document: dict[str, object], name: str, value: int | str, indent: int | str | None
) -> None:
    text = json.dumps({"models": document}, indent=indent)
    edited = with_members(text, ("models",), {name: value})
    assert json.loads(edited) == {"models": {**document, name: value}}
