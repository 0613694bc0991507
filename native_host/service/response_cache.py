"""Answers that are kept: with `response_cache`, the same request of the same peer to the same model is
answered from before. Only requests whose answer is always the same: greedy ones, and those with a seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from native_host import __version__
from native_host.models.manager import ModelManager
from native_host.models.spec import ModelSpec
from native_host.protocol.messages import (
    ChatParams,
    ChatResult,
    FunctionDelta,
    GenerateParams,
    GenerateResult,
    InferenceParams,
    Timings,
    TokenLogprob,
    ToolCallDelta,
)
from native_host.service.context import RequestContext
from native_host.service.sampling import is_greedy
from native_host.store import Store, TooLarge

KEPT_S = 3600.0
"""How long an answer is kept, in seconds."""

P = TypeVar("P", GenerateParams, ChatParams)
R = TypeVar("R", GenerateResult, ChatResult)


class ResponseCache:
    """Stands before handlers that compute answers."""

    def __init__(self, manager: ModelManager, store: Store) -> None:
        self._manager = manager
        self._store = store

    def before(
        self, handler: Callable[[P, RequestContext], Awaitable[R]], result: type[R]
    ) -> Callable[[P, RequestContext], Awaitable[R]]:
        """The handler, asked only for answers that are not kept."""

        async def answer(params: P, context: RequestContext) -> R:
            if not params.response_cache:
                return await handler(params, context)
            key = self._key(params)
            stored = await self._store.get(context.identity.owner, key) if key is not None else None
            if stored is not None:
                return await _again(msgspec.json.decode(stored, type=result), params, context)
            computed = replace(await handler(params, context), cached=False)
            if key is not None and self._key(params) == key:  # the model was not changed meanwhile
                await self._keep(context.identity.owner, key, computed)
            return computed

        return answer

    async def _keep(self, owner: str, key: str, result: GenerateResult | ChatResult) -> None:
        try:
            await self._store.set(owner, key, msgspec.json.encode(result), KEPT_S)
        except TooLarge:
            return

    def _key(self, params: InferenceParams) -> str | None:
        """Equal for requests with equal answers; `None` where the next answer may be another one.

        Members of objects count in the order given: that of a schema's properties is the answer's.
        """
        spec = self._manager.registry.resolve(params.model)
        fingerprint = self._manager.fingerprint(spec)
        if fingerprint is None or not _repeatable(params, spec):
            return None
        matters = replace(
            params,
            model=spec.name,
            stream=False,
            timeout_s=None,
            priority=0,
            prefix_cache=True,
            resumable=False,
            keep_alive=None,
        )
        told = [__version__, type(params).__name__, fingerprint, matters]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _repeatable(params: InferenceParams, spec: ModelSpec) -> bool:
    return params.seed is not None or is_greedy(params, spec.entry.sampling)


async def _again(result: R, params: InferenceParams, context: RequestContext) -> R:
    """A kept answer, streamed where that is asked for. Nothing was measured this time."""
    if params.stream and isinstance(result, ChatResult):
        await _stream_chat(result, context)
    elif params.stream and isinstance(result, GenerateResult):
        for text, index, logprobs in _texts(result):
            await context.stream(text, index=index, logprobs=logprobs)
    return replace(result, cached=True, timings=Timings())


async def _stream_chat(result: ChatResult, context: RequestContext) -> None:
    """Thoughts, text and calls, in the order in which they were streamed before."""
    message = result.message
    if message.reasoning:
        await context.stream("", reasoning=message.reasoning)
    await context.stream(message.content, logprobs=result.logprobs)
    for index, call in enumerate(message.tool_calls or ()):
        arguments = call.function.arguments
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        function = FunctionDelta(name=call.function.name, arguments=text)
        delta = ToolCallDelta(index=index, id=call.id, type="function", function=function)
        await context.stream("", tool_calls=[delta])


def _texts(result: GenerateResult) -> list[tuple[str, int | None, list[TokenLogprob] | None]]:
    if result.texts is None:
        return [(result.text or "", None, result.logprobs)]
    return [(each.text, index, each.logprobs) for index, each in enumerate(result.texts)]
