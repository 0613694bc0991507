"""The face for servers: events of all requests in one drain, a descriptor to wait on."""

from __future__ import annotations

import selectors
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tabagent_model import (
    ContextOverflowError,
    Engine,
    InvalidArgumentError,
    LoadCancelledError,
    NotLoadedError,
)
from tabagent_model.types import Event


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Iterator[Engine]:
    """The tiny model behind an engine; the library is found by itself."""
    with Engine(tiny_model, threads=1) as engine:
        yield engine


def events_until_done(engine: Engine, requests: set[int]) -> list[Event]:
    """Everything that the engine says until all the requests have ended."""
    events: list[Event] = []
    with selectors.DefaultSelector() as selector:
        selector.register(engine, selectors.EVENT_READ)
        while requests:
            assert selector.select(timeout=30), "the engine fell silent"
            for event in engine.drain():
                events.append(event)
                if event["type"] in {"finished", "failed"}:
                    requests = requests - {event["request"]}
    return events


def test_events_come_in_order(engine: Engine) -> None:
    request = engine.submit("Hello", max_tokens=10, temperature=0, ignore_eos=True, seed=3)
    events = events_until_done(engine, {request})
    kinds = [event["type"] for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) == {"piece"}
    last = events[-1]
    assert last["type"] == "finished"
    assert last["reason"] == "length"
    assert last["usage"]["completion_tokens"] == 10
    assert last["seed"] == 3
    assert last["timings"]["first_token_ms"] > 0
    tokens = [token["token"] for event in events if event["type"] == "piece" for token in event["tokens"]]
    assert len(tokens) == 10


def test_logprobs(engine: Engine) -> None:
    request = engine.submit("Hello", max_tokens=3, temperature=0, ignore_eos=True, logprobs=2)
    events = events_until_done(engine, {request})
    tokens = [token for event in events if event["type"] == "piece" for token in event["tokens"]]
    assert len(tokens) == 3
    for token in tokens:
        assert token["logprob"] <= 0
        assert token["top"][0]["token"] == token["token"]
        assert len(token["top"]) == 2
        assert engine.detokenize([token["token"]]).decode(errors="replace") == token["text"]


def test_many_requests_at_once(engine: Engine) -> None:
    requests = {engine.submit(f"Number {index}", max_tokens=8, temperature=0) for index in range(16)}
    assert len(requests) == 16
    events = events_until_done(engine, requests)
    assert sum(event["type"] == "finished" for event in events) == 16
    assert engine.drain() == []


def test_a_cancelled_request_ends_so(engine: Engine) -> None:
    running = engine.submit("Hello", max_tokens=2000, ignore_eos=True)
    waiting = engine.submit("Hello", max_tokens=2000, ignore_eos=True)
    assert engine.cancel(waiting)
    assert engine.cancel(running)
    ends = [event for event in events_until_done(engine, {running, waiting}) if event["type"] == "finished"]
    assert [event["reason"] for event in ends] == ["cancelled", "cancelled"]
    assert not engine.cancel(running)
    assert not engine.cancel(2**40)


def test_refusals_come_at_once(engine: Engine) -> None:
    with pytest.raises(InvalidArgumentError, match="prompt is empty"):
        engine.submit("")
    with pytest.raises(InvalidArgumentError, match="empty"):
        engine.submit([])
    with pytest.raises(InvalidArgumentError, match="not in the vocabulary"):
        engine.submit([2048])
    with pytest.raises(ContextOverflowError, match="2047"):
        engine.submit([1] * 2048)
    assert engine.drain() == []


def test_templates_and_their_tokens(engine: Engine) -> None:
    prompt = engine.apply_template([{"role": "user", "content": "hi"}])
    tokens = engine.tokenize_prompt(prompt)
    assert tokens == engine.tokenize(prompt, add_special=False, parse_special=True)
    assert len(tokens) < len(engine.tokenize(prompt, add_special=False, parse_special=False))


def test_stats(engine: Engine) -> None:
    before = engine.stats()
    events_until_done(engine, {engine.submit("Hello", max_tokens=4, temperature=0, ignore_eos=True)})
    after = engine.stats()
    assert after["finished"] == before["finished"] + 1
    assert after["completion_tokens"] == before["completion_tokens"] + 4
    assert (after["queued"], after["running"], after["unusable"]) == (0, 0, None)


def test_a_closed_engine_says_so(tiny_model: Path) -> None:
    engine = Engine(tiny_model, threads=1)
    engine.submit("Hello", max_tokens=2000, ignore_eos=True)
    engine.close()
    engine.close()
    for call in (engine.drain, engine.stats, engine.fileno, engine.info, lambda: engine.submit("Hello")):
        with pytest.raises(NotLoadedError):
            call()


def test_progress_is_reported_and_can_stop_the_load(tiny_model: Path) -> None:
    seen: list[float] = []
    Engine(tiny_model, progress=seen.append).close()
    assert seen
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(LoadCancelledError):
        Engine(tiny_model, progress=lambda _: False)

    def broken(_: float) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Engine(tiny_model, progress=broken)


def test_the_engine_drops_from_any_thread(tiny_model: Path) -> None:
    engines = [Engine(tiny_model, context_length=256, threads=1)]
    engines[0].submit("Hello", max_tokens=200, ignore_eos=True)
    thread = threading.Thread(target=engines.clear)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
