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
    tokens = engine.tokenize_prompt([(prompt, True)])
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


def tokens_of(events: list[Event], request: int) -> list[int]:
    """The tokens of one request, in order."""
    pieces = [event for event in events if event["type"] == "piece" and event["request"] == request]
    return [token["token"] for piece in pieces for token in piece["tokens"]]


def test_a_paused_request_stands_still_while_others_end(tiny_model: Path) -> None:
    with Engine(tiny_model, threads=1, parallel=2) as engine:
        behind = engine.submit("Hello", max_tokens=2000, temperature=0, ignore_eos=True)
        assert engine.pause(behind)
        events: list[Event] = []
        for _ in range(3):  # its own last step may have been under way while the first of these began
            other = engine.submit("Good morning", max_tokens=50, ignore_eos=True)
            events += events_until_done(engine, {other})
        so_far = len(tokens_of(events, behind))
        assert so_far < 2000
        events += events_until_done(engine, {engine.submit("Again", max_tokens=50, ignore_eos=True)})
        assert len(tokens_of(events, behind)) == so_far
        assert engine.resume(behind)
        events += events_until_done(engine, {behind})
        assert len(tokens_of(events, behind)) == 2000
        assert not engine.pause(behind)
        assert not engine.resume(behind)


def test_a_paused_request_can_be_cancelled(engine: Engine) -> None:
    request = engine.submit("Hello", max_tokens=2000, ignore_eos=True)
    assert engine.pause(request)
    assert engine.cancel(request)
    last = events_until_done(engine, {request})[-1]
    assert last["type"] == "finished"
    assert last["reason"] == "cancelled"


def test_a_deterministic_request_says_the_same_in_a_crowd(tiny_model: Path) -> None:
    def ask(engine: Engine) -> int:
        return engine.submit("Hello", max_tokens=200, temperature=0, ignore_eos=True, deterministic=True)

    with Engine(tiny_model, threads=1, parallel=4) as engine:
        lone = ask(engine)
        expected = tokens_of(events_until_done(engine, {lone}), lone)
        crowd = {engine.submit("Hello", max_tokens=100, ignore_eos=True, seed=seed) for seed in range(3)}
        again = ask(engine)
        events = events_until_done(engine, {again, *crowd})
        assert tokens_of(events, again) == expected
        started = [e for e in events if e["type"] == "started" and e["request"] == again]
        assert [event["cached_tokens"] for event in started] == [0]


def test_sequences_share_the_cells_that_were_asked_for(tiny_model: Path) -> None:
    with Engine(tiny_model, threads=1, context_length=512, kv_cache_tokens=256, parallel=2) as engine:
        assert engine.info()["context_length"] == 256
        with pytest.raises(ContextOverflowError, match="255"):
            engine.submit([1] * 256)
        requests = {engine.submit([1] * 100, max_tokens=100, ignore_eos=True, identity=i) for i in (1, 2)}
        ends = [event for event in events_until_done(engine, requests) if event["type"] == "finished"]
        assert [end["usage"]["completion_tokens"] for end in ends] == [100, 100]
    for nonsense in (0, -1, 2**40):
        with pytest.raises(InvalidArgumentError, match="kv_cache_tokens"):
            Engine(tiny_model, kv_cache_tokens=nonsense)


def finished(engine: Engine, request: int) -> Event:
    """The last event of a request."""
    return events_until_done(engine, {request})[-1]


def test_answers_go_on_past_the_end_of_their_context_when_asked(tiny_model: Path) -> None:
    with Engine(tiny_model, threads=1, context_length=256) as engine:
        assert engine.info()["context_shift"]
        asked = [None, 4]
        ends = [
            finished(engine, engine.submit([1] * 100, max_tokens=400, ignore_eos=True, context_shift=keeps))
            for keeps in asked
        ]
        told = [
            (end["reason"], end["usage"]["completion_tokens"]) for end in ends if end["type"] == "finished"
        ]
        assert told == [("length", 156), ("length", 400)]
        assert engine.stats()["shifts"] >= 2
        with pytest.raises(InvalidArgumentError, match="context_shift"):
            engine.submit([1], context_shift=4, deterministic=True)


def test_what_leaves_the_cache_waits_in_main_memory_as_far_as_that_is_allowed(tiny_model: Path) -> None:
    def cached(engine: Engine, who: int) -> int:
        prompt = [10 + who] + [20 + who] * 149
        events = events_until_done(engine, {engine.submit(prompt, max_tokens=2, identity=who)})
        return next(event["cached_tokens"] for event in events if event["type"] == "started")

    for allowed, again in ((1 << 26, 149), (None, 0)):
        with Engine(tiny_model, threads=1, context_length=256, parallel=2, spill_bytes=allowed) as engine:
            assert engine.info()["spill_bytes"] == (allowed or 0)
            assert [cached(engine, who) for who in (1, 2, 1, 2)] == [0, 0, again, again]
            stats = engine.stats()
            assert stats["restored"] == (2 if allowed else 0)
            assert 0 <= stats["spilled_bytes"] <= engine.info()["spill_bytes"]
    with pytest.raises(InvalidArgumentError, match="spill_bytes"):
        Engine(tiny_model, spill_bytes=-1)
