"""Text as its tokens come in: whole characters, and no part of a stop string, wherever tokens cut them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from native_host.workers.backends.answer_text import AnswerText


def pushed(text: AnswerText, pieces: list[bytes]) -> str:
    return "".join(text.push(piece) for piece in pieces) + text.finish()


def test_a_stop_string_of_split_characters_is_found() -> None:
    text = AnswerText(["é!"])
    assert text.push(b"caf\xc3") == "caf"
    assert text.push(b"\xa9") == ""
    assert text.push(b"!x") == ""
    assert text.stopped
    assert text.push(b"more") == ""
    assert text.finish() == ""


def test_the_end_delivers_what_was_held() -> None:
    text = AnswerText(["</s>"])
    assert text.push(b"a</\xf0\x9f") == "a"
    assert text.finish() == "</\ufffd"
    assert not text.stopped


def test_of_stops_that_end_together_the_longest_counts() -> None:
    text = AnswerText(["b", "ab", "xyz"])
    assert text.push("cab") == "c"


def test_the_first_stop_counts() -> None:
    text = AnswerText(["aab", "ab"])
    assert text.push("aaabab") == "a"


@given(
    some.text("ab", max_size=40),
    some.lists(some.text("ab", min_size=1, max_size=5), max_size=3),
    some.integers(1, 5),
)
def test_cuts_change_nothing(whole: str, stops: list[str], size: int) -> None:
    cut = AnswerText(stops)
    got = pushed(cut, [whole[at : at + size].encode() for at in range(0, len(whole), size)])
    ends = [(whole.index(stop) + len(stop), whole.index(stop)) for stop in stops if stop in whole]
    assert cut.stopped == bool(ends)
    assert got == (whole[: min(ends)[1]] if ends else whole)


@given(some.binary(max_size=30), some.integers(1, 4))
def test_bytes_become_what_python_makes_of_them_at_once(whole: bytes, size: int) -> None:
    cut = [whole[at : at + size] for at in range(0, len(whole), size)]
    assert pushed(AnswerText([]), cut) == whole.decode("utf-8", "replace")
