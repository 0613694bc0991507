"""The events of one answer, and the descriptor that tells of them."""

from __future__ import annotations

import select

from native_host.workers.backends.answer import Answer
from native_host.workers.backends.outbox import Outbox
from native_host.workers.messages import Event, Finished, GenerateRequest, Piece, Started, TokenInfo


def answer(outbox: Outbox, stop: list[str]) -> Answer:
    request = GenerateRequest(
        prompt="x", max_tokens=9, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0, seed=3, stop=stop
    )
    return Answer(7, request, outbox)


def readable(outbox: Outbox) -> bool:
    return bool(select.select([outbox.fileno()], [], [], 0)[0])


def test_the_descriptor_is_readable_exactly_while_events_wait() -> None:
    outbox = Outbox()
    assert not readable(outbox)
    told = answer(outbox, [])
    told.start()
    told.finish("stop")
    assert readable(outbox)
    assert [type(event) for event in outbox.drain()] == [Started, Finished]
    assert not readable(outbox)
    assert outbox.drain() == []
    outbox.close()


def pieces(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.text, len(event.tokens)) for event in events if isinstance(event, Piece)]


def test_tokens_are_told_with_the_text_that_they_settle() -> None:
    outbox = Outbox()
    told = answer(outbox, ["END"])
    told.start()
    assert not told.take(TokenInfo(1), b"a\xc3")
    assert not told.take(TokenInfo(2), b"\xa9")
    assert not told.take(TokenInfo(3), b"EN")
    assert told.take(TokenInfo(4), b"D and more")
    told.finish("stop")
    events = outbox.drain()
    assert pieces(events) == [("a", 1), ("é", 1), ("", 2)]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.reason, end.seed, end.usage.completion_tokens) == ("stop", 3, 4)


def test_a_stop_string_that_the_last_token_completes_is_no_lack_of_room() -> None:
    outbox = Outbox()
    told = answer(outbox, ["\ufffd"])
    told.start()
    told.take(TokenInfo(1), b"a\xc3")
    told.finish("length")
    end = outbox.drain()[-1]
    assert isinstance(end, Finished)
    assert end.reason == "stop"


def test_what_was_cancelled_before_it_began_has_only_an_end() -> None:
    outbox = Outbox()
    answer(outbox, []).finish("cancelled")
    (end,) = outbox.drain()
    assert isinstance(end, Finished)
    assert end.reason == "cancelled"
    assert end.timings.first_token_ms == 0.0
