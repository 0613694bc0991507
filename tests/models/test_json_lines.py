"""Lines of keys in a JSON document."""

from __future__ import annotations

from native_host.models.json_lines import key_lines


def test_nested_keys_arrays_and_tricky_strings() -> None:
    text = '{\n"a": {"b{": 1,\n "c": [1, {"d": "x,\\"y:"}\n, {"e": null}]},\n"f": "{"\n}'
    assert key_lines(text) == {
        ("a",): 2,
        ("a", "b{"): 2,
        ("a", "c"): 3,
        ("a", "c", "1", "d"): 3,
        ("a", "c", "2", "e"): 4,
        ("f",): 5,
    }


def test_of_duplicate_keys_the_last_counts() -> None:
    assert key_lines('{"a": 1,\n"a": 2}') == {("a",): 2}


def test_a_broken_document_does_not_raise() -> None:
    assert key_lines('}}{"a": [}') == {("a",): 1}
