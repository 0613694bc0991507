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
from native_host.service.borrowing import ask
from native_host.service.context import RequestContext
from native_host.service.conversation import conversation
from native_host.service.tools import switches
from native_host.workers.messages import DetokenizeRequest, TemplateRequest, TokenizeRequest


class TextService:
    """Handlers for a model's tokenizer and chat template."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def tokenize(self, params: TokenizeParams, context: RequestContext) -> TokenizeResult:
        """Text to token ids."""
        request = TokenizeRequest(params.text, params.add_special, params.parse_special)
        tokens = await ask(self._manager, params.model, context, lambda lease: lease.worker.tokenize(request))
        return TokenizeResult(tokens=tokens)

    async def detokenize(self, params: DetokenizeParams, context: RequestContext) -> DetokenizeResult:
        """Token ids to text."""
        request = DetokenizeRequest(params.tokens)
        text = await ask(self._manager, params.model, context, lambda lease: lease.worker.detokenize(request))
        return DetokenizeResult(text=text)

    async def apply_template(
        self, params: ApplyTemplateParams, context: RequestContext
    ) -> ApplyTemplateResult:
        """The prompt that a conversation is to its model, with tools and documents where the template reads
        them.
        """
        spec = self._manager.registry.resolve(params.model)
        messages = conversation(params.messages, spec.entry.system_prompt)
        request = TemplateRequest(
            messages,
            add_generation_prompt=params.add_generation_prompt,
            tools=params.tools,
            documents=params.documents,
            options=switches(params.chat_template_kwargs),
        )
        prompt = await ask(
            self._manager, params.model, context, lambda lease: lease.worker.apply_template(request)
        )
        return ApplyTemplateResult(prompt=prompt)
