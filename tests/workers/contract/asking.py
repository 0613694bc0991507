"""Requests of the contract's tests."""

from __future__ import annotations

import msgspec

from native_host.workers.messages import ChatMessage, GenerateRequest

QUESTIONS = [
    "What is this program?",
    "How do I run the tests?",
    "Hello",
    "Which formats can it run?",
    "What is the KV cache?",
    "Who wrote you?",
]


GREEDY = {"max_tokens": 64, "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "seed": 1}


def request(members: dict[str, object]) -> GenerateRequest:
    """A request of these members, checked."""
    return msgspec.convert(members, GenerateRequest)


def ask(question: str, **options: object) -> GenerateRequest:
    """A question to the model, greedy unless told otherwise."""
    return request({"messages": [ChatMessage("user", question)], **GREEDY, **options})


def go_on(prompt: str | list[int], **options: object) -> GenerateRequest:
    """A text to be continued, greedy unless told otherwise."""
    return request({"prompt": prompt, **GREEDY, **options})
