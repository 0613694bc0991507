"""The engine over a model that Python computes: here a toy that says the next letter of the alphabet."""

from __future__ import annotations

import select
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import tabagent_model
from tabagent_model.types import Event

PIECES = [bytes([code]) for code in range(97, 123)] + [b"<end>", "é".encode()[:1], "é".encode()[1:]]
END, FIRST_HALF, SECOND_HALF = 26, 27, 28


class ToyAlphabet:
    """After each letter comes the next one, after z the end; a half of é is followed by the other."""

    def __init__(self) -> None:
        self.cached: dict[int, list[int]] = {}
        self.batches: list[list[tuple[int, int, list[int], int]]] = []
        self.fault: Exception | None = None

    def decode(self, spans: list[tuple[int, int, list[int], int]]) -> bytes:
        if self.fault is not None:
            raise self.fault
        self.batches.append(spans)
        answer = b""
        for sequence, start, tokens, wanted in spans:
            held = self.cached.setdefault(sequence, [])
            assert start == len(held)
            held += tokens
            answer += b"".join(self.row(token) for token in tokens[len(tokens) - wanted :])
        return answer

    def row(self, token: int) -> bytes:
        following = token + 1 if token != SECOND_HALF else END
        return struct.pack(f"{len(PIECES)}f", *(5.0 * (index == following) for index in range(len(PIECES))))

    def cut(self, sequence: int, length: int) -> None:
        del self.cached[sequence][length:]


@pytest.fixture
def toy() -> ToyAlphabet:
    return ToyAlphabet()


@pytest.fixture
def engine(toy: ToyAlphabet) -> Iterator[tabagent_model.HostedEngine]:
    engine = tabagent_model.HostedEngine(
        toy, vocabulary=PIECES, control=[END], end=[END], context_length=64, parallel=3, batch=16
    )
    yield engine
    engine.close()


def collect(engine: tabagent_model.HostedEngine, count: int) -> dict[int, list[Event]]:
    """All events until so many requests have ended."""
    events: dict[int, list[Event]] = {}
    ended = 0
    while ended < count:
        select.select([engine.fileno()], [], [], 20)
        for event in engine.drain():
            events.setdefault(event["request"], []).append(event)
            ended += event["type"] in ("finished", "failed")
    return events


def text(events: list[Event]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "piece")


def test_a_generation(engine: tabagent_model.HostedEngine) -> None:
    request = engine.submit([0, 1, 2], temperature=0.0)
    events = collect(engine, 1)[request]
    assert events[0]["type"] == "started"
    assert text(events) == "defghijklmnopqrstuvwxyz"
    assert events[-1]["type"] == "finished"
    assert events[-1]["reason"] == "stop"


def test_requests_are_decoded_together(engine: tabagent_model.HostedEngine, toy: ToyAlphabet) -> None:
    requests = [engine.submit([start], temperature=0.0, max_tokens=5) for start in (0, 5, 10)]
    events = collect(engine, 3)
    assert [text(events[request]) for request in requests] == ["bcdef", "ghijk", "lmnop"]
    assert max(len(batch) for batch in toy.batches) > 1


def test_options_are_the_engine_s(engine: tabagent_model.HostedEngine) -> None:
    stopped = engine.submit([0], temperature=0.0, stop=["gh"])
    whole = engine.submit([FIRST_HALF, SECOND_HALF, FIRST_HALF], temperature=0.0)
    told = engine.submit([24], temperature=0.0, logprobs=1)
    events = collect(engine, 3)
    assert text(events[stopped]) == "bcdef"
    assert text(events[whole]) == "\ufffd"
    piece: Any = next(event for event in events[told] if event["type"] == "piece")
    assert piece["tokens"][0]["text"] == "z"
    assert piece["tokens"][0]["logprob"] > -1


def test_a_prefix_is_used_again(engine: tabagent_model.HostedEngine) -> None:
    first = engine.submit([0, 1, 2, 3], temperature=0.0, max_tokens=2)
    collect(engine, 1)
    second = engine.submit([0, 1, 2, 3, 9], temperature=0.0, max_tokens=2)
    finished: Any = collect(engine, 1)[second][-1]
    assert finished["usage"]["cached_tokens"] == 4
    assert first != second


def test_what_python_raises_fails_the_request_only(
    engine: tabagent_model.HostedEngine, toy: ToyAlphabet
) -> None:
    toy.fault = MemoryError("no room for keys")
    failed = engine.submit([0])
    (event,) = [each for each in collect(engine, 1)[failed] if each["type"] == "failed"]
    assert "no room for keys" in str(event)
    toy.fault = None
    next_one = engine.submit([22], temperature=0.0)
    assert text(collect(engine, 1)[next_one]) == "xyz"


def test_refusals(engine: tabagent_model.HostedEngine) -> None:
    with pytest.raises(tabagent_model.ContextOverflowError):
        engine.submit([0] * 64)
    with pytest.raises(tabagent_model.InvalidArgumentError):
        engine.submit([99])
    with pytest.raises(tabagent_model.InvalidArgumentError):
        engine.submit([])
    engine.close()
    with pytest.raises(tabagent_model.NotLoadedError):
        engine.submit([0])


def test_an_answer_is_of_its_form_whatever_the_model_would_say(engine: tabagent_model.HostedEngine) -> None:
    vowels = engine.submit(
        [0], temperature=1.5, seed=2, response_format={"type": "regex", "regex": "[aeiou]{3,6}"}
    )
    events = collect(engine, 1)[vowels]
    assert events[-1]["type"] == "finished"
    assert 3 <= len(text(events)) <= 6
    assert set(text(events)) <= set("aeiou")


def test_a_form_that_cannot_be_met_is_refused(engine: tabagent_model.HostedEngine) -> None:
    with pytest.raises(tabagent_model.InvalidArgumentError, match="unclosed group"):
        engine.submit([0], response_format={"type": "regex", "regex": "("})
