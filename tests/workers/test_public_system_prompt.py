"""A model's own system prompt is computed once for everybody; nothing else is shared."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

import native_host.models
from native_host.workers.backends.gguf import GgufBackend
from native_host.workers.messages import ChatMessage, Finished, GenerateRequest, LoadOptions, Started

MODEL = Path(native_host.models.__file__).parent / "builtin" / "tabagent-demo.gguf"
SYSTEM = "You answer questions about this software, in short sentences, and only in English."
QUESTION = "What is a worker, and what happens to my request when it dies in the middle of an answer?"


@pytest.fixture
def backend() -> Iterator[GgufBackend]:
    backend = GgufBackend.open(str(MODEL), LoadOptions(parallel=4, threads=1), lambda _: None)
    yield backend
    backend.close()


def cached(backend: GgufBackend, request_id: int, identity: int, public: bool, system: str = SYSTEM) -> int:
    """Ask, wait for the answer, and tell how much of the prompt had been computed before."""
    conversation = [ChatMessage("system", system), ChatMessage("user", QUESTION)]
    request = GenerateRequest(
        messages=conversation,
        max_tokens=2,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        seed=1,
        identity=identity,
        public_system=public,
    )
    backend.submit(request_id, request)
    found = -1
    events = backend.fileno()
    assert events is not None
    while True:
        select.select([events], [], [])
        for event in backend.drain():
            if isinstance(event, Started):
                found = event.cached_tokens
            if isinstance(event, Finished):
                return found


def test_another_identity_finds_the_system_prompt_and_no_more(backend: GgufBackend) -> None:
    assert cached(backend, 1, identity=1, public=True) == 0
    shared = cached(backend, 2, identity=2, public=True)
    own = cached(backend, 3, identity=1, public=True)
    system = len(backend.tokenize(SYSTEM, False, False))
    question = len(backend.tokenize(QUESTION, False, False))
    assert system <= shared < own - question / 2


def test_what_a_peer_sends_as_system_prompt_is_its_own(backend: GgufBackend) -> None:
    cached(backend, 1, identity=1, public=False)
    assert cached(backend, 2, identity=2, public=False) == 0
    assert cached(backend, 3, identity=2, public=True) > 0  # its own
    assert cached(backend, 4, identity=3, public=True) > 0  # what identity 2 left as public
    assert cached(backend, 5, identity=4, public=False) == 0
