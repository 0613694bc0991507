"""Long texts in messages: none too long by Telegram's count, nothing lost, nothing torn."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from native_host.transports.gateway.telegram.splitting import split


def messages(text: str, limit: int = 4096) -> list[str]:
    found = []
    while text:
        part, text = split(text, limit)
        found.append(part)
    return found


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300), st.integers(2, 40))
def test_every_message_fits_and_nothing_is_lost(text: str, limit: int) -> None:
    found = messages(text.strip(), limit)
    assert all(0 < units(part) <= limit for part in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_an_emoji_counts_twice() -> None:
    assert [len(part) for part in messages("😀" * 4096)] == [2048, 2048]


def test_paragraphs_are_cut_before_lines_and_lines_before_words() -> None:
    paragraph = "word " * 500 + "\nline\n"
    found = messages(f"{paragraph}\n{paragraph}")
    assert found == [paragraph.strip(), paragraph.strip()]
    assert messages("aaa bbb\nccc ddd", 13) == ["aaa bbb", "ccc ddd"]
    assert messages("aaa bbb ccc", 8) == ["aaa bbb", "ccc"]


def test_emojis_of_several_parts_and_accents_stay_whole() -> None:
    family = "👩\u200d👩\u200d👧"
    assert all(part.count("👧") * family == part for part in messages(family * 100, 50))
    assert all(not part.startswith("\u0301") for part in messages("e\u0301" * 100, 7))
