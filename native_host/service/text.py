"""`tokenize`, `detokenize` and `models.apply_template`: a model's text work without any generating."""

from __future__ import annotations

from native_host.models.manager import ModelManager
from native_host.protocol.messages import (
    ApplyTemplateParams,
    ApplyTemplateResult,
    DetokenizeParams,
    DetokenizeResult,
    TokenizeParams,
    TokenizeResult,
)
from native_host.service.borrowing import borrow
from native_host.service.context import RequestContext
from native_host.service.conversation import conversation, refuse_tools
from native_host.workers.messages import DetokenizeRequest, TemplateRequest, TokenizeRequest


class TextService:
    """Handlers for a model's tokenizer and chat template."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def tokenize(self, params: TokenizeParams, context: RequestContext) -> TokenizeResult:
        """Text to token ids."""
        request = TokenizeRequest(params.text, params.add_special, params.parse_special)
        async with borrow(self._manager, params.model, context) as lease:
            return TokenizeResult(tokens=await lease.worker.tokenize(request))

    async def detokenize(self, params: DetokenizeParams, context: RequestContext) -> DetokenizeResult:
        """Token ids to text."""
        async with borrow(self._manager, params.model, context) as lease:
            return DetokenizeResult(text=await lease.worker.detokenize(DetokenizeRequest(params.tokens)))

    async def apply_template(
        self, params: ApplyTemplateParams, context: RequestContext
    ) -> ApplyTemplateResult:
        """The prompt that `chat` would use."""
        refuse_tools(params.tools)
        spec = self._manager.registry.resolve(params.model)
        messages = conversation(params.messages, spec.entry.system_prompt)
        async with borrow(self._manager, params.model, context) as lease:
            return ApplyTemplateResult(prompt=await lease.worker.apply_template(TemplateRequest(messages)))
