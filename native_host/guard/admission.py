"""Between transports and service: what a request may cost and hold, whoever carries it.

Applies what belongs to an identity (its model and quotas), counts the tokens of its answers, and asks the
content rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from native_host.guard.limits import UsageLimits
from native_host.guard.texts import texts_of, tokens_of
from native_host.protocol import errors
from native_host.protocol.identity import Identity
from native_host.protocol.messages import (
    InferenceParams,
    ModelsInspectParams,
    ModelsLoadParams,
    Params,
    Partial,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from native_host.protocol.methods import METHODS

if TYPE_CHECKING:
    from native_host.guard.content import ContentRules
    from native_host.service.context import RequestContext

INFER = "infer"
MODELS_WRITE = "models.write"


class Handler(Protocol):
    """Who answers requests that were admitted. `service.Service` is one."""

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """The result, or an RpcError raised."""


class Admission:
    """A handler before another one. `max_prompt` is in bytes of UTF-8, `max_tokens` of an answer."""

    def __init__(
        self,
        handler: Handler,
        limits: UsageLimits,
        *,
        max_prompt: int | None = None,
        max_tokens: int | None = None,
        rules: ContentRules | None = None,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._max_prompt = max_prompt
        self._max_tokens = max_tokens
        self._rules = rules

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """The handler's answer. Raises what it raises, and permission_denied, rate_limited, quota_exceeded,
        input_too_long and content_rejected.
        """
        _check_files(params, context.identity)
        _check_overrides(params, context.identity)
        if METHODS[method].scope != INFER:
            return await self._handler.handle(method, params, context)
        params = self._fitted(params, context.identity)
        self._check_length(params)
        await self._limits.check_tokens(context.identity)
        if method == "streams.resume":  # to read what somebody runs already is no work
            return await self._counted(method, params, context)
        with self._limits.running(context.identity):
            await self._check_content(params, context)
            if not getattr(params, "resumable", False):
                return await self._counted(method, params, context)
        # Work that can outlive its request is counted by whoever runs it (`service.streams`).
        return await self._counted(method, params, context)

    def _fitted(self, params: Params, identity: Identity) -> Params:
        """The params with what the identity and the operator say where the peer says nothing, or too much."""
        changes: dict[str, object] = {}
        if identity.model is not None and getattr(params, "model", identity.model) is None:
            changes["model"] = identity.model
        limit = self._max_tokens
        if limit is not None and isinstance(params, InferenceParams) and params.max_tokens > limit:
            changes["max_tokens"] = limit
        return msgspec.structs.replace(params, **changes) if changes else params

    def _check_length(self, params: Params) -> None:
        limit = self._max_prompt
        if limit is None:
            return
        if len(tokens_of(params)) > limit:
            raise errors.input_too_long(limit, tokens=len(tokens_of(params)))
        length = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts_of(params))
        if length > limit:
            raise errors.input_too_long(limit, bytes_=length)

    async def _check_content(self, params: Params, context: RequestContext) -> None:
        if self._rules is None:
            return
        silent = _Silent(context)

        async def ask(method: str, question: Params) -> object:
            return await self._handler.handle(method, question, silent)

        await self._rules.check(params, ask)

    async def _counted(self, method: str, params: Params, context: RequestContext) -> object:
        """The answer; the tokens that it took are counted, however it ends, and once where several requests
        read one stream.
        """
        usage: object = None
        try:
            result = await self._handler.handle(method, params, context)
            usage = getattr(result, "usage", None)
            return result
        finally:
            spent = usage if isinstance(usage, Usage) else context.partial.usage
            if spent is not None:
                tokens = spent.prompt_tokens + spent.completion_tokens
                fresh, context.partial.counted = tokens - context.partial.counted, tokens
                await self._limits.count_tokens(context.identity, fresh)


def _check_files(params: Params, identity: Identity) -> None:
    """Who may only look at models is not told which other files there are. Raises permission_denied."""
    looks_at_file = isinstance(params, ModelsInspectParams) and params.path is not None
    if looks_at_file and not identity.may(MODELS_WRITE):
        problem = f"{identity.name} may inspect models of the registry by name, but no files by path"
        raise errors.permission_denied(MODELS_WRITE, problem)


def _check_overrides(params: Params, identity: Identity) -> None:
    """Who may only load models loads them as their entries say: other options would take the place of the
    model that everybody uses. Raises permission_denied.
    """
    if not isinstance(params, ModelsLoadParams) or identity.may(MODELS_WRITE):
        return
    for name in params.__struct_fields__:
        if name != "model" and getattr(params, name) is not None:
            problem = f"{identity.name} may load models as models.json has them, but not choose their {name}"
            raise errors.permission_denied(MODELS_WRITE, problem)


class _Silent:
    """The context of a question that the guard asks on the way: for the same peer, who hears nothing of
    it.
    """

    def __init__(self, context: RequestContext) -> None:
        self.request_id = context.request_id
        self.identity = context.identity
        self.deadline = context.deadline
        self.partial = Partial()
        self.abandoned = False

    def take_up(self, stream: str, from_seq: int, partial: Partial) -> None:
        """Nobody comes back for it."""
        raise errors.unsupported("resumable questions of the guard")

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        """Nobody listens."""

    async def progress(
        self, stage: str, fraction: float | None, message: str, counted: tuple[int, int] | None = None
    ) -> None:
        """Nobody listens."""
