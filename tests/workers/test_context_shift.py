"""Answers past the end of their context, where a model's entry says so."""

from __future__ import annotations

import select
from pathlib import Path

import msgspec
import pytest

import native_host.models
from native_host.workers.backends.gguf import GgufBackend
from native_host.workers.messages import (
    ChatMessage,
    Finished,
    GenerateRequest,
    LoadOptions,
    Started,
    TemplateRequest,
)

MODEL = Path(native_host.models.__file__).parent / "builtin" / "tabagent-demo.gguf"
CONVERSATION = [
    ChatMessage("system", "You answer in short sentences."),
    ChatMessage("user", "What is a worker?"),
]
CONTEXT = 256
TOOL = {
    "type": "function",
    "function": {"name": "barometer", "parameters": {"type": "object", "properties": {}}},
}


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


@pytest.mark.parametrize("system", [CONVERSATION[:1], []])
def test_tools_stay_with_the_system_message(system: list[ChatMessage]) -> None:
    options = LoadOptions(context_length=1024, threads=1, context_shift=True)
    backend = GgufBackend.open(str(MODEL), options, lambda _: None)
    try:
        # Two tokens of the answer are all that the context has room for.
        prompt, messages = conversation_of(backend, system, 1022)
        request = GenerateRequest(
            messages=messages,
            tools=[TOOL],
            tool_choice="auto",
            max_tokens=20,
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            min_p=0.0,
            seed=1,
        )
        assert cached(backend, 1, request) == 0
        # What was computed beside dropped tokens serves nobody, so that what is found again is what stayed.
        stayed = cached(backend, 2, msgspec.structs.replace(request, max_tokens=1))
        kept, rest = backend.detokenize(prompt[:stayed]), backend.detokenize(prompt[stayed:])
    finally:
        backend.close()
    assert stayed < 512
    assert "barometer" in kept
    assert "barometer" not in rest


def conversation_of(
    backend: GgufBackend, system: list[ChatMessage], length: int
) -> tuple[list[int], list[ChatMessage]]:
    """A conversation with the tool whose prompt has so many tokens, and these."""
    words = length
    while True:
        messages = [*system, ChatMessage("user", "a " * words + "?")]
        text = backend.apply_template(TemplateRequest(messages, tools=[TOOL]))
        prompt = backend.tokenize(text, False, True)
        if len(prompt) == length:
            return prompt, messages
        assert len(prompt) > length
        words -= max((len(prompt) - length) // 4, 1)


def cached(backend: GgufBackend, request_id: int, request: GenerateRequest) -> int:
    """How many of a request's tokens had been computed before, once it has ended."""
    backend.submit(request_id, request)
    events, found = backend.fileno(), -1
    assert events is not None
    while True:
        assert select.select([events], [], [], 120)[0], "the engine fell silent"
        for event in backend.drain():
            if isinstance(event, Started):
                found = event.cached_tokens
            if isinstance(event, Finished):
                return found
