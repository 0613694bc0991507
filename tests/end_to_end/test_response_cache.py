"""Kept answers of a real daemon with a real model."""

from __future__ import annotations

from pathlib import Path

from native_host.client import Host


def test_a_chat_is_answered_from_before_without_the_model(daemon: Path) -> None:
    with Host.connect(daemon) as host:
        first = host.chat("hello", max_tokens=8, temperature=0, response_cache=True, logprobs=1).result
        host.unload("tiny")
        stream = host.chat("hello", max_tokens=8, temperature=0, response_cache=True, logprobs=1)
        pieces = list(stream.pieces())
        again = stream.result
        state = {model.name: model.state for model in host.models()}["tiny"]
    assert (first.cached, again.cached, state) == (False, True, "available")
    assert (again.message, again.logprobs, again.seed) == (first.message, first.logprobs, first.seed)
    assert "".join(piece.text for piece in pieces) == again.message.content
    assert [each for piece in pieces for each in piece.logprobs or []] == again.logprobs


def test_in_a_session_the_whole_conversation_is_the_request(socket_host: Host) -> None:
    cached = []
    for _ in range(2):
        name = socket_host.create_session()
        for _ in range(2):
            result = socket_host.chat("hello", session=name, max_tokens=4, seed=7, response_cache=True).result
            cached.append(result.cached)
        assert len(socket_host.session(name).messages) == 4
    assert cached == [False, False, True, True]
