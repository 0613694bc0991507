"""The batching loop for backends whose model Python computes: `tabagent_model`'s own engine over a `Forward`.

A backend gives what its library computes (a `Forward`) and what its tokenizer knows (a `Vocabulary`), and
gets `submit`, `cancel`, `pause`, `resume`, `drain` and `fileno` of the Backend protocol for it:

    loop = StepLoop(forward, vocabulary, context_length=8192, parallel=8)
    loop.submit(request_id, prompt_tokens, request)

The loop runs on a Rust thread, the same that runs GGUF models: requests join and leave between steps, every
step is one batch of the next token of each request at work and as many prompt tokens as keep the step short,
and sampling (with its counter-based draws), penalties, stop strings, whole UTF-8, log-probabilities,
priorities and the reuse of computed prefixes are one implementation for all formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import tabagent_model

from native_host.workers.backends.adapters import chosen
from native_host.workers.backends.chats import parts_of
from native_host.workers.backends.engine_requests import Requests, planned, refusals, require_tokens
from native_host.workers.messages import AdapterFile, Event, GenerateRequest

if TYPE_CHECKING:
    from tabagent_model.chat import Plan

PARALLEL = 8
"""Sequences decoded at once where `models.json` says nothing. Each has a KV cache of its own, which grows as
it is used."""
LONGEST_CONTEXT = 8192
"""The context length where `models.json` names none and the model was trained for more."""

Span = tuple[int, int, list[int], int]
"""A part of a batch: (sequence, position of its first token, its tokens, after how many of the last of them
logits are wanted). A sequence has one span in a batch; its positions follow each other without a gap."""


class Forward(Protocol):
    """What computes logits, with a KV cache for each sequence 0 … `parallel` - 1. Called from one thread, the
    engine's; let libraries release the GIL."""

    def decode(self, spans: list[Span]) -> bytes:
        """Add the spans' tokens to their sequences' caches and answer the wanted rows of logits: float32 of
        this machine's byte order, `vocabulary` of them a row, spans in their order.

        A span begins where its sequence's cache ends, or earlier after a failed call, or after `cut`: what is
        cached from its position on is void then. Whatever it raises fails the batch; its requests are tried
        alone, and those that fail again get an internal error.
        """

    def cut(self, sequence: int, length: int) -> None:
        """The cache of a sequence from position `length` on is void and can be freed."""


class AdaptableForward(Forward, Protocol):
    """A `Forward` that computes with adapters."""

    def use_adapters(self, adapters: list[tuple[str, float]]) -> None:
        """What follows is computed with these, by name and scale; at first there are none."""


class Vocabulary(msgspec.Struct, frozen=True):
    """The tokens of a model. `pieces[token]` are the bytes that a token stands for, of a control token its
    name; `control` are no part of a text; `end` end a generation (end of text, of turn)."""

    pieces: list[bytes]
    control: frozenset[int]
    end: frozenset[int]


class StepLoop:
    """Requests to one model, computed together. Its methods are those of the Backend protocol."""

    def __init__(
        self,
        forward: Forward,
        vocabulary: Vocabulary,
        *,
        context_length: int,
        parallel: int,
        batch: int = 512,
        prefix_reuse: bool = True,
        adapters: list[AdapterFile] | None = None,
    ) -> None:
        """`context_length`: tokens in the longest sequence; `parallel`: sequences computed at once; `batch`:
        most tokens of a step; `prefix_reuse`: whether a cache can be cut in its middle;
        `adapters`: what requests may choose, if it is an `AdaptableForward`."""
        self._engine = tabagent_model.HostedEngine(
            forward,
            vocabulary=vocabulary.pieces,
            control=sorted(vocabulary.control),
            end=sorted(vocabulary.end),
            context_length=context_length,
            parallel=parallel,
            batch=batch,
            prefix_reuse=prefix_reuse,
            adapters=[(adapter.name, adapter.scale) for adapter in adapters or []],
        )
        self._adapters = adapters or []
        self._vocabulary_size = len(vocabulary.pieces)
        self._context_length = context_length
        self._requests = Requests()

    def submit(
        self, request_id: int, prompt: list[int], request: GenerateRequest, plan: Plan | None = None
    ) -> None:
        """Queue a request for the continuation of `prompt`, which the plan for its conversation made.

        Raises adapter_not_found, invalid_params, input_too_long and overloaded.
        """
        require_tokens("prompt", prompt, self._vocabulary_size)

        options = planned(request, plan)
        options["adapters"] = chosen(request.adapters, self._adapters)

        def submit() -> int:
            return self._engine.submit(prompt, max_tokens=request.max_tokens, **options)

        with refusals(self._engine.stats, self._context_length, len(prompt)):
            self._requests.add(request_id, submit, parts_of(plan))

    def cancel(self, request_id: int) -> None:
        """End a request by the end of the step."""
        self._requests.tell(request_id, self._engine.cancel)

    def pause(self, request_id: int) -> None:
        """Leave a request out of batches from the next step on."""
        self._requests.tell(request_id, self._engine.pause)

    def resume(self, request_id: int) -> None:
        """Take a request back into batches."""
        self._requests.tell(request_id, self._engine.resume)

    def drain(self) -> list[Event]:
        """Everything since the last call."""
        return self._requests.translate(self._engine.drain)

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._engine.fileno()

    def close(self) -> None:
        """Cancel what is left and end the thread."""
        self._engine.close()
