"""`PyModel` with its `async` methods: an event loop waits on the engine's descriptor, no thread does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import _native

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._native import Stream
    from .types import Message, Sampling


class PyModel(_native.PyModel):
    """A language model in a GGUF file, run by llama.cpp."""

    async def agenerate(
        self, prompt: str | list[int], max_tokens: int = 512, **options: Unpack[Sampling]
    ) -> str:
        """Continue a prompt without blocking the event loop."""
        return "".join([piece async for piece in self.astream(prompt, max_tokens, **options)])

    async def astream(
        self, prompt: str | list[int], max_tokens: int = 512, **options: Unpack[Sampling]
    ) -> AsyncIterator[str]:
        """Continue a prompt piece by piece. Leaving the loop early cancels what is left."""
        async for piece in _pieces(lambda: self.stream(prompt, max_tokens, **options)):
            yield piece

    async def achat(
        self,
        messages: list[Message],
        max_tokens: int = 512,
        *,
        tools: list[dict[str, Any]] | None = None,
        **options: Unpack[Sampling],
    ) -> str:
        """Answer a conversation without blocking the event loop."""
        pieces = self.astream_chat(messages, max_tokens, tools=tools, **options)
        return "".join([piece async for piece in pieces])

    async def astream_chat(
        self,
        messages: list[Message],
        max_tokens: int = 512,
        *,
        tools: list[dict[str, Any]] | None = None,
        **options: Unpack[Sampling],
    ) -> AsyncIterator[str]:
        """Answer a conversation piece by piece. Leaving the loop early cancels what is left."""
        async for piece in _pieces(lambda: self.stream_chat(messages, max_tokens, tools=tools, **options)):
            yield piece


async def _pieces(start: Callable[[], Stream]) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    # Tokenizing a long prompt takes a while.
    stream = await asyncio.to_thread(start)
    ready = asyncio.Event()

    def wake() -> None:
        # The thread that fetched the events need not be the loop's, and the loop may have gone meanwhile.
        if not loop.is_closed():
            loop.call_soon_threadsafe(ready.set)

    stream.on_ready(wake)
    try:
        with _watching(loop, stream):
            while True:
                ready.clear()
                for piece in stream.poll():
                    yield piece
                if stream.done:
                    return
                await ready.wait()
    finally:
        stream.cancel()


_watched: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, int]] = WeakKeyDictionary()


@contextmanager
def _watching(loop: asyncio.AbstractEventLoop, stream: Stream) -> Iterator[None]:
    """Have the loop fetch the engine's events when there are some; streams of one engine share that."""
    users = _watched.setdefault(loop, {})
    descriptor = stream.fileno()
    if not users.get(descriptor):
        users[descriptor] = 0
        loop.add_reader(descriptor, stream.pump)
    users[descriptor] += 1
    try:
        yield
    finally:
        users[descriptor] -= 1
        if not users[descriptor]:
            del users[descriptor]
            loop.remove_reader(descriptor)
