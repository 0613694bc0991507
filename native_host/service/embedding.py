"""`embed` and `rerank`: texts to vectors, and documents in the order of their relevance."""

from __future__ import annotations

from native_host.models.manager import Lease, ModelManager
from native_host.protocol import errors
from native_host.protocol.messages import (
    EmbedParams,
    EmbedResult,
    RankedDocument,
    RerankParams,
    RerankResult,
    Usage,
)
from native_host.service.borrowing import ask
from native_host.service.context import RequestContext
from native_host.workers import messages as worker

MAX_TEXTS = 2048


class EmbeddingService:
    """Handlers for models that compare texts rather than write them."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager

    async def embed(self, params: EmbedParams, context: RequestContext) -> EmbedResult:
        """A vector for each text."""
        texts = [params.input] if isinstance(params.input, str) else params.input
        _require_texts("input", texts, several=not isinstance(params.input, str))
        request = worker.EmbedRequest(texts, params.normalize)

        async def embed(lease: Lease) -> EmbedResult:
            result = await lease.worker.embed(request)
            _note(context, lease, result.tokens)
            return EmbedResult(
                embeddings=result.embeddings,
                dimensions=len(result.embeddings[0]),
                model=lease.spec.name,
                usage=_usage(result.tokens),
            )

        return await ask(self._manager, params.model, context, embed, params.keep_alive)

    async def rerank(self, params: RerankParams, context: RequestContext) -> RerankResult:
        """The documents by falling relevance; equal ones keep their order."""
        _require_texts("query", [params.query], several=False)
        _require_texts("documents", params.documents, several=True)
        request = worker.RerankRequest(params.query, params.documents)

        async def rerank(lease: Lease) -> RerankResult:
            result = await lease.worker.rerank(request)
            _note(context, lease, result.tokens)
            ranked = [RankedDocument(index=index, score=score) for index, score in enumerate(result.scores)]
            ranked.sort(key=lambda document: -document.score)
            return RerankResult(
                results=ranked[: params.top_n], model=lease.spec.name, usage=_usage(result.tokens)
            )

        return await ask(self._manager, params.model, context, rerank)


def _require_texts(path: str, texts: list[str], several: bool) -> None:
    """Raises invalid_params where there is no text, an empty one, or more than MAX_TEXTS."""
    if not texts:
        raise errors.invalid_params(path, "is empty")
    if len(texts) > MAX_TEXTS:
        raise errors.invalid_params(path, f"at most {MAX_TEXTS} texts, not {len(texts)}")
    for index, text in enumerate(texts):
        if not text:
            raise errors.invalid_params(f"{path}[{index}]" if several else path, "is empty")


def _note(context: RequestContext, lease: Lease, tokens: int) -> None:
    """What the request has used, for whoever counts it."""
    context.partial.model = lease.spec.name
    context.partial.usage = _usage(tokens)


def _usage(tokens: int) -> Usage:
    return Usage(prompt_tokens=tokens, completion_tokens=0, cached_tokens=0)
