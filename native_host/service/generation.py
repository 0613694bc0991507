"""`generate` and `chat`: from params to a worker's events, and from those to streams and an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec

from native_host.models.manager import Lease, ModelManager
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.protocol.messages import (
    AssistantMessage,
    ChatParams,
    ChatResult,
    Finish,
    FunctionDelta,
    GeneratedText,
    GenerateParams,
    GenerateResult,
    InferenceParams,
    Timings,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    ToolFunction,
    TopLogprob,
    Usage,
)
from native_host.service.borrowing import borrow, once_more
from native_host.service.context import RequestContext
from native_host.service.conversation import conversation
from native_host.service.sampling import cache_identity, draw_seed, engine_request
from native_host.service.tools import check_calls, offer, switches
from native_host.workers import messages as worker
from native_host.workers.messages import ChatMessage, Finished, GenerateRequest, Piece, Started

MAX_PROMPTS = 64

T = TypeVar("T")
Source = str | list[int] | list[ChatMessage]


class Outcome(msgspec.Struct, frozen=True):
    """How one sequence went."""

    text: str
    reasoning: str
    calls: list[ToolCall]
    reason: Finish
    usage: Usage
    timings: worker.Timings
    logprobs: list[TokenLogprob] | None


class Answer(msgspec.Struct, frozen=True):
    """How a whole request went."""

    outcomes: list[Outcome]
    model: str
    usage: Usage
    timings: Timings
    seed: int


class GenerationService:
    """Handlers for `generate` and `chat`."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def generate(self, params: GenerateParams, context: RequestContext) -> GenerateResult:
        """Continue a prompt, or several at once. Several share the seed, so that each replays alone."""
        sources, several = _sources(params)
        answer = await self._answer(params, context, sources, several)
        if several:
            texts = [
                GeneratedText(
                    text=outcome.text,
                    finish_reason=outcome.reason,
                    usage=outcome.usage,
                    logprobs=outcome.logprobs,
                )
                for outcome in answer.outcomes
            ]
            return GenerateResult(
                texts=texts,
                model=answer.model,
                usage=answer.usage,
                timings=answer.timings,
                seed=answer.seed,
            )
        outcome = answer.outcomes[0]
        return GenerateResult(
            text=outcome.text,
            finish_reason=outcome.reason,
            logprobs=outcome.logprobs,
            model=answer.model,
            usage=answer.usage,
            timings=answer.timings,
            seed=answer.seed,
        )

    async def chat(self, params: ChatParams, context: RequestContext) -> ChatResult:
        """Answer a conversation through the model's own chat template."""
        spec = self._manager.registry.resolve(params.model)
        messages = conversation(params.messages, spec.entry.system_prompt)
        check_calls(params.messages)
        offered = offer(params)
        extras = {
            "tools": offered.tools,
            "tool_choice": offered.choice,
            "parallel_tool_calls": params.parallel_tool_calls,
            "documents": params.documents,
            "template_options": switches(params.chat_template_kwargs),
        }
        answer = await self._answer(params, context, [messages], several=False, extras=extras)
        outcome = answer.outcomes[0]
        return ChatResult(
            message=AssistantMessage(
                content=outcome.text,
                reasoning=outcome.reasoning or None,
                tool_calls=outcome.calls or None,
            ),
            finish_reason=outcome.reason,
            logprobs=outcome.logprobs,
            model=answer.model,
            usage=answer.usage,
            timings=answer.timings,
            seed=answer.seed,
        )

    async def _answer(
        self,
        params: InferenceParams,
        context: RequestContext,
        sources: list[Source],
        several: bool,
        extras: dict[str, Any] | None = None,
    ) -> Answer:
        """`extras` are members of the worker's request that belong to chats."""
        spec = self._manager.registry.resolve(params.model)
        context.partial.model = spec.name
        seed = draw_seed(params)
        identity = cache_identity(context.identity)
        own = spec.entry
        requests = [
            msgspec.structs.replace(
                engine_request(params, own.sampling, seed, source, identity, own.system_prompt),
                **(extras or {}),
            )
            for source in sources
        ]
        progress = _Progress(context, len(requests), several)

        async def run() -> tuple[float, float, list[Outcome]]:
            return await self._run(params, context, spec, requests, progress, several)

        lease_ms, wall_s, outcomes = await once_more(run, lambda: progress.waiting)
        timings = _timings(outcomes, lease_ms, wall_s)
        return Answer(outcomes, spec.name, _sum([outcome.usage for outcome in outcomes]), timings, seed)

    async def _run(
        self,
        params: InferenceParams,
        context: RequestContext,
        spec: ModelSpec,
        requests: list[GenerateRequest],
        progress: _Progress,
        several: bool,
    ) -> tuple[float, float, list[Outcome]]:
        """All sequences of a request; answers the load's milliseconds, the rest's seconds, and the
        outcomes.
        """
        async with borrow(self._manager, spec.name, context, params.keep_alive) as lease:
            progress.waiting = True
            began = time.monotonic()
            sequences = [
                _Sequence(lease, request, context, progress, index, several, params.stream)
                for index, request in enumerate(requests)
            ]
            outcomes = await _together([sequence.run() for sequence in sequences])
            return lease.load_ms, time.monotonic() - began, outcomes


class _Progress:
    """Keeps `context.partial` current over all sequences of a request."""

    waiting = False
    """Whether a worker has the request and has not begun with it: nothing is lost by asking another."""

    def __init__(self, context: RequestContext, sequences: int, several: bool) -> None:
        self._partial = context.partial
        self._usages = [Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0)] * sequences
        self._texts = [""] * sequences
        if several:
            self._partial.texts = self._texts

    def note(self, index: int, text: str, usage: Usage) -> None:
        """One sequence has come this far."""
        self.waiting = False
        self._usages[index] = usage
        self._texts[index] = text
        self._partial.usage = _sum(self._usages)
        if self._partial.texts is None:
            self._partial.text = text


class _Sequence:
    """One sequence: passes its pieces on and gathers them."""

    def __init__(
        self,
        lease: Lease,
        request: GenerateRequest,
        context: RequestContext,
        progress: _Progress,
        index: int,
        several: bool,
        stream: bool,
    ) -> None:
        self._lease = lease
        self._request = request
        self._context = context
        self._progress = progress
        self._index = index
        self._several = several
        self._stream = stream
        self._text = ""
        self._reasoning = ""
        self._calls: list[ToolCall] = []
        self._usage = Usage(prompt_tokens=0, completion_tokens=0, cached_tokens=0)
        self._logprobs: list[TokenLogprob] | None = [] if request.logprobs is not None else None

    async def run(self) -> Outcome:
        """Generate until the end. Raises the RpcError that ended it instead."""
        request = self._request
        if self._context.deadline is not None:
            left = max(self._context.deadline - time.monotonic(), 0.0)
            request = msgspec.structs.replace(request, timeout_s=left)
        async with self._lease.worker.generate(request) as batches:
            async for batch in batches:
                finished = await self._take(batch)
                if finished is not None:
                    return self._outcome(finished)
        raise errors.worker_crashed(f"the worker of {self._lease.spec.name!r} ended a request without a word")

    async def _take(self, batch: list[worker.Event]) -> Finished | None:
        """Everything that has come since the last batch, as one `$/stream` at most."""
        text = reasoning = ""
        calls: list[worker.CallDelta] = []
        tokens: list[worker.TokenInfo] = []
        finished: Finished | None = None
        for event in batch:
            if isinstance(event, Started):
                self._usage = Usage(
                    prompt_tokens=event.prompt_tokens, completion_tokens=0, cached_tokens=event.cached_tokens
                )
            elif isinstance(event, Piece):
                text += event.text
                reasoning += event.reasoning
                calls += event.calls
                tokens += event.tokens
            elif isinstance(event, Finished):
                finished = event
        await self._pass_on(text, reasoning, calls, tokens)
        return finished

    async def _pass_on(
        self, text: str, reasoning: str, calls: list[worker.CallDelta], tokens: list[worker.TokenInfo]
    ) -> None:
        self._text += text
        self._reasoning += reasoning
        for call in calls:
            self._gather(call)
        self._usage = msgspec.structs.replace(
            self._usage, completion_tokens=self._usage.completion_tokens + len(tokens)
        )
        self._progress.note(self._index, self._text, self._usage)
        logprobs = None
        if self._logprobs is not None:
            logprobs = [_logprob(token) for token in tokens]
            self._logprobs += logprobs
        if self._stream and (text or reasoning or calls or logprobs):
            await self._context.stream(
                text,
                index=self._index if self._several else None,
                logprobs=logprobs,
                reasoning=reasoning,
                tool_calls=[_delta(call) for call in calls] or None,
            )

    def _gather(self, call: worker.CallDelta) -> None:
        if call.name is not None:
            self._calls.append(ToolCall(id=call.id, function=ToolFunction(call.name, "")))
        function = self._calls[call.index].function
        function.arguments = f"{function.arguments}{call.arguments}"

    def _outcome(self, finished: Finished) -> Outcome:
        if finished.reason == "cancelled":
            raise errors.cancelled()
        if finished.reason == "timeout":
            raise errors.timeout()
        usage = Usage(
            prompt_tokens=finished.usage.prompt_tokens,
            completion_tokens=finished.usage.completion_tokens,
            cached_tokens=finished.usage.cached_tokens,
        )
        self._progress.note(self._index, self._text, usage)
        return Outcome(
            self._text,
            self._reasoning,
            self._calls,
            finished.reason,
            usage,
            finished.timings,
            self._logprobs,
        )


def _sources(params: GenerateParams) -> tuple[list[Source], bool]:
    """What to continue, and whether it was given as `prompts`. Raises invalid_params."""
    if params.session is not None:
        raise errors.invalid_params("session", "belongs to chat; generate continues a prompt as it stands")
    if params.prompts is None:
        if params.prompt is None:
            raise errors.invalid_params("prompt", "is missing (or give prompts)")
        if not params.prompt:
            raise errors.invalid_params("prompt", "is empty")
        return [params.prompt], False
    if params.prompt is not None:
        raise errors.invalid_params("prompts", "give prompt or prompts, not both")
    if not params.prompts:
        raise errors.invalid_params("prompts", "is empty")
    if len(params.prompts) > MAX_PROMPTS:
        raise errors.invalid_params("prompts", f"at most {MAX_PROMPTS} prompts, not {len(params.prompts)}")
    for index, prompt in enumerate(params.prompts):
        if not prompt:
            raise errors.invalid_params(f"prompts[{index}]", "is empty")
    return list(params.prompts), True


def _delta(call: worker.CallDelta) -> ToolCallDelta:
    return ToolCallDelta(
        index=call.index,
        id=call.id,
        type=None if call.name is None else "function",
        function=FunctionDelta(call.name, call.arguments),
    )


def _logprob(token: worker.TokenInfo) -> TokenLogprob:
    top = [TopLogprob(token=each.token, text=each.text, logprob=each.logprob) for each in token.top]
    return TokenLogprob(token=token.token, text=token.text, logprob=token.logprob or 0.0, top=top)


def _sum(usages: list[Usage]) -> Usage:
    return Usage(
        prompt_tokens=sum(usage.prompt_tokens for usage in usages),
        completion_tokens=sum(usage.completion_tokens for usage in usages),
        cached_tokens=sum(usage.cached_tokens for usage in usages),
    )


def _timings(outcomes: list[Outcome], load_ms: float, wall_s: float) -> Timings:
    """One sequence's own figures; of several the first one's beginning and the speed of all together."""
    if len(outcomes) == 1:
        of = outcomes[0].timings
        return Timings(
            queue_ms=of.queue_ms,
            load_ms=load_ms,
            first_token_ms=of.first_token_ms,
            prefill_tokens_per_s=of.prefill_tokens_per_s,
            decode_tokens_per_s=of.decode_tokens_per_s,
        )
    completion = sum(outcome.usage.completion_tokens for outcome in outcomes)
    return Timings(
        queue_ms=min(outcome.timings.queue_ms for outcome in outcomes),
        load_ms=load_ms,
        first_token_ms=min(outcome.timings.first_token_ms for outcome in outcomes),
        decode_tokens_per_s=completion / wall_s if wall_s > 0 else None,
    )


async def _together(runs: list[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; when one fails, the others are cancelled and its error is raised."""
    if len(runs) == 1:
        return [await runs[0]]
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
