"""Real worker processes for tests of the backends: loaded with a model, asked, and ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
from demo_model.questions import read_corpus

from native_host.workers.launcher import ProcessLauncher
from native_host.workers.messages import (
    ChatMessage,
    Event,
    Finished,
    GenerateRequest,
    LoadOptions,
    LoadRequest,
    Piece,
)
from native_host.workers.supervisor import Worker

BUILTIN = Path(__file__).parents[2] / "native_host" / "models" / "builtin" / "tabagent-demo.gguf"
GREEDY = GenerateRequest(max_tokens=64, temperature=0.0, top_p=0.95, top_k=40, min_p=0.05, seed=1)


@asynccontextmanager
async def loaded(
    backend: str, path: str | Path = BUILTIN, options: LoadOptions | None = None
) -> AsyncIterator[Worker]:
    """A worker of its own; one thread, so that a busy machine changes nothing."""
    request = LoadRequest(backend, str(path), options or LoadOptions(threads=1))
    worker = await Worker.start(
        ProcessLauncher(),
        "m",
        request,
        on_progress=lambda _: None,
        on_end=lambda _: None,
        stall_s=60,
    )
    try:
        yield worker
    finally:
        await worker.stop()


def asked(prompt: str | list[int] = "The host", **changes: object) -> GenerateRequest:
    """A greedy request, with changes."""
    return msgspec.structs.replace(GREEDY, prompt=prompt, **changes)


def chat(question: str, **changes: object) -> GenerateRequest:
    """A greedy request of a conversation of one message, with changes."""
    return msgspec.structs.replace(GREEDY, messages=[ChatMessage("user", question)], **changes)


class Heard(NamedTuple):
    """All that came of a request."""

    text: str
    tokens: list[int]
    end: Finished
    events: Sequence[Event]


async def heard(worker: Worker, request: GenerateRequest) -> Heard:
    """Ask and listen to the end. Raises RpcError."""
    async with worker.generate(request) as batches:
        events = [event async for batch in batches for event in batch]
    return gathered(events)


def gathered(events: Sequence[Event]) -> Heard:
    """What these events say together."""
    pieces = [event for event in events if isinstance(event, Piece)]
    end = events[-1]
    assert isinstance(end, Finished)
    text = "".join(piece.text for piece in pieces)
    return Heard(text, [token.token for piece in pieces for token in piece.tokens], end, events)


def prompts_of_tests(count: int = 50) -> list[str]:
    """Questions that the built-in model was never trained on: the first of each topic's, one an entry."""
    entries = read_corpus().entries.values()
    plain = [line for entry in entries for line in entry.held_out[:1] if not set(line) & set("(|{}")]
    return plain[:: max(1, len(plain) // count)][:count]
