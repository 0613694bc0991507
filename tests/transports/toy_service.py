"""A service that answers `generate` by the word in the prompt. It stands for models here, and says so in its
name."""

from __future__ import annotations

import asyncio

from native_host.protocol import errors
from native_host.protocol.messages import GenerateParams, GenerateResult, Params, Timings, TokenLogprob, Usage
from native_host.service.context import RequestContext


class ToyService:
    """`started` and `ended` hold the prompts of requests that began and stopped running; `go` lets them go
    on."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[str] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        self.pieces = 0

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """Answer `generate`; every other method is null."""
        if not isinstance(params, GenerateParams):
            return None
        prompt = str(params.prompt)
        self.started.put_nowait(prompt)
        try:
            return await self._generate(prompt, context)
        finally:
            self.ended.put_nowait(prompt)

    async def _generate(self, prompt: str, context: RequestContext) -> GenerateResult:
        word, _, rest = prompt.partition(" ")
        if word == "wait":
            context.partial.text = "so far"
            context.partial.usage = _usage()
            await self.go.wait()
        elif word == "deaf":
            await self._be_deaf()
        elif word == "fail":
            raise ValueError(rest)
        elif word == "refuse":
            raise errors.model_not_found(rest, ["tabagent-demo"])
        elif word == "break":
            await context.stream("so far")
            await asyncio.sleep(0)
            raise errors.model_not_found(rest, [])
        elif word == "nan":
            return _result("", Timings(queue_ms=float("nan")))
        elif word == "load":
            await context.progress("load", 0.5, "half")
        elif word == "flood":
            return await self._flood(int(rest), context)
        elif word == "long":
            return _result("x" * int(rest))
        elif word == "silent":
            tokens = [TokenLogprob(token=n, text="", logprob=-1.0, top=[]) for n in range(int(rest))]
            await context.stream("", logprobs=tokens)
        elif word == "stream":
            await context.stream(rest)
            return _result(rest)
        return _result(prompt)

    async def _be_deaf(self) -> None:
        """Like native code that cannot be interrupted: a cancellation is only seen when it is over."""
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await self.go.wait()

    async def _flood(self, pieces: int, context: RequestContext) -> GenerateResult:
        self.pieces = 0
        for _ in range(pieces):
            await context.stream("y" * 1000)
            self.pieces += 1
            await asyncio.sleep(0)
        return _result("y" * 1000 * pieces)


def _usage() -> Usage:
    return Usage(prompt_tokens=1, completion_tokens=2, cached_tokens=0)


def _result(text: str, timings: Timings | None = None) -> GenerateResult:
    return GenerateResult(
        text=text,
        finish_reason="stop",
        model="toy",
        usage=_usage(),
        timings=timings or Timings(),
        seed=0,
    )
