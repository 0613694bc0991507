"""Several requests at once: they run side by side, and one whose peer does not read holds up no other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from end_to_end.raw_peer import RawPeer
from native_host.client import Host
from native_host.client.asking import Generated
from native_host.client.session import Answer, Event, Failure, Piece
from native_host.protocol.errors import RpcError


def streaming(prompt: str, max_tokens: int, **options: object) -> tuple[str, dict[str, object]]:
    """A request for a stream of exactly so many tokens."""
    params = {"prompt": prompt, "max_tokens": max_tokens, "stream": True, "ignore_eos": True, **options}
    return "generate", params


def text_of(events: list[Event], request: int) -> str:
    """What arrived of a stream."""
    return "".join(event.text for event in events if isinstance(event, Piece) and event.id == request)


def result_of(events: list[Event], request: int) -> Generated:
    """What a request was answered."""
    (answer,) = [event for event in events if isinstance(event, Answer) and event.id == request]
    return msgspec.json.decode(answer.result, type=Generated)


def test_four_streams_at_once_interleave_and_are_complete(daemon: Path) -> None:
    with RawPeer(daemon) as peer:
        requests = peer.ask(*(streaming(f"number {index}", 400) for index in range(4)))
        events = peer.read_until(set(requests))
    assert not [event for event in events if isinstance(event, Failure)]
    first_end = next(index for index, event in enumerate(events) if isinstance(event, Answer))
    heard_before = {event.id for event in events[:first_end] if isinstance(event, Piece)}
    assert heard_before == set(requests)
    for request in requests:
        result = result_of(events, request)
        assert result.text == text_of(events, request)
        assert (result.finish_reason, result.usage.completion_tokens) == ("length", 400)


def test_a_peer_that_does_not_read_holds_up_no_other_and_loses_nothing(
    daemon: Path, socket_host: Host
) -> None:
    with RawPeer(daemon) as peer:
        # With that many alternatives a token, its answer is many times what all buffers hold.
        requests = peer.ask(streaming("hello", 1500, logprobs=20))
        for index in range(4):
            other = socket_host.generate(f"number {index}", max_tokens=500, ignore_eos=True)
            assert other.usage.completion_tokens == 500
        # The others had more steps than the first one needs, and it is neither done nor given up.
        assert socket_host.health().requests_in_flight == 1
        events = peer.read_until(set(requests))
    assert not [event for event in events if isinstance(event, Failure)]
    result = result_of(events, requests[0])
    assert result.usage.completion_tokens == 1500
    assert result.text == text_of(events, requests[0])
    tokens = [token for event in events if isinstance(event, Piece) for token in event.logprobs or []]
    assert tokens == result.logprobs
    assert len(tokens) == 1500


def test_a_crowd_that_outgrows_its_cells_is_answered_all_the_same(daemon: Path, socket_host: Host) -> None:
    assert socket_host.load("cramped").context_length == 512
    with pytest.raises(RpcError) as caught:
        socket_host.generate([1] * 512, model="cramped")
    assert (caught.value.kind, caught.value.data["limit"]) == ("input_too_long", 511)
    with RawPeer(daemon) as peer:
        requests = peer.ask(*(streaming(f"number {i}", 300, model="cramped") for i in range(4)))
        events = peer.read_until(set(requests))
    for request in requests:
        result = result_of(events, request)
        assert result.text == text_of(events, request)
        assert result.usage.completion_tokens == 300
