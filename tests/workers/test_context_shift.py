"""Answers past the end of their context, where a model's entry says so."""

from __future__ import annotations

import select
from pathlib import Path

import pytest

import native_host.models
from native_host.workers.backends.gguf import GgufBackend
from native_host.workers.messages import ChatMessage, Finished, GenerateRequest, LoadOptions

MODEL = Path(native_host.models.__file__).parent / "builtin" / "tabagent-demo.gguf"
CONVERSATION = [
    ChatMessage("system", "You answer in short sentences."),
    ChatMessage("user", "What is a worker?"),
]
CONTEXT = 256


def finished(backend: GgufBackend, deterministic: bool) -> Finished:
    """The end of an answer that would not end by itself."""
    request = GenerateRequest(
        messages=CONVERSATION,
        max_tokens=2 * CONTEXT,
        temperature=0.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        seed=1,
        ignore_eos=True,
        deterministic=deterministic,
    )
    backend.submit(1, request)
    events = backend.fileno()
    assert events is not None
    while True:
        assert select.select([events], [], [], 60)[0], "the engine fell silent"
        for event in backend.drain():
            if isinstance(event, Finished):
                return event


@pytest.mark.parametrize(("shifts", "deterministic"), [(True, False), (True, True), (False, False)])
def test_only_who_may_goes_on(shifts: bool, deterministic: bool) -> None:
    options = LoadOptions(context_length=CONTEXT, threads=1, context_shift=shifts)
    backend = GgufBackend.open(str(MODEL), options, lambda _: None)
    try:
        end = finished(backend, deterministic)
    finally:
        backend.close()
    goes_on = shifts and not deterministic
    assert end.reason == "length"
    assert (end.usage.completion_tokens == 2 * CONTEXT) == goes_on
    assert end.usage.prompt_tokens + end.usage.completion_tokens == CONTEXT or goes_on
