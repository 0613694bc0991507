"""What models have in common that read whole texts at once: embeddings, and cross-encoders for reranking."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from native_host.protocol import errors
from native_host.workers.backends import Cancelled
from native_host.workers.backends.outbox import Outbox
from native_host.workers.backends.text import FolderText
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    Event,
    GenerateRequest,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
)

_BATCH_TOKENS = 4096
"""Tokens of a batch, padding included: what bounds the memory of a request of any size."""
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet"})
"""Their positions begin after that of the padding token."""

Encoded = tuple[list[int], list[int]]
"""A text's tokens and their types."""


class Padded(msgspec.Struct, frozen=True):
    """Texts of a batch, rows of equal length: `mask` is 1 for tokens and 0 for the padding after them."""

    tokens: list[list[int]]
    mask: list[list[int]]
    types: list[list[int]]


class VectorModel:
    """The methods of a backend for an encoder. It computes on the caller's thread; it has no events."""

    def __init__(self, text: FolderText, info: ModelInfo, pad: int) -> None:
        """`pad` is the padding token."""
        self.info = info
        self._text = text
        self._pad = pad
        self._outbox = Outbox()

    def _embed_batch(self, batch: Padded, normalize: bool) -> list[list[float]]:
        """A vector for each text."""
        raise NotImplementedError

    def _score_batch(self, batch: Padded) -> list[float]:
        """A score for each pair."""
        raise NotImplementedError

    def _free(self) -> None:
        """Give the model's memory back."""
        raise NotImplementedError

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """It generates nothing."""
        raise errors.unsupported("generating with this model: it is an encoder")

    def cancel(self, request_id: int) -> None:
        """There is nothing in a queue; `embed` and `rerank` ask for themselves."""

    def pause(self, request_id: int) -> None:
        """There is nothing to pause."""

    def resume(self, request_id: int) -> None:
        """There is nothing to resume."""

    def drain(self) -> list[Event]:
        """No events."""
        return []

    def fileno(self) -> int:
        """Never readable."""
        return self._outbox.fileno()

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """A vector for each text."""
        if "embed" not in self.info.capabilities:
            raise errors.unsupported("embeddings of this model: it is a reranker")
        texts = [self._encoded(f"input[{index}]", text) for index, text in enumerate(request.inputs)]
        vectors: list[list[float]] = [[]] * len(texts)
        for batch in _batches(texts, cancelled):
            found = self._embed_batch(self._padded([texts[index] for index in batch]), request.normalize)
            for index, vector in zip(batch, found, strict=True):
                vectors[index] = vector
        return EmbedResult(vectors, sum(len(tokens) for tokens, _ in texts))

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """The classifier's logit for the query with each document."""
        if "rerank" not in self.info.capabilities:
            raise errors.unsupported("reranking by this model: it makes embeddings")
        texts = [
            self._encoded(f"documents[{index}]", request.query, document)
            for index, document in enumerate(request.documents)
        ]
        scores = [0.0] * len(texts)
        for batch in _batches(texts, cancelled):
            found = self._score_batch(self._padded([texts[index] for index in batch]))
            for index, score in zip(batch, found, strict=True):
                scores[index] = score
        return RerankResult(scores, sum(len(tokens) for tokens, _ in texts))

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids."""
        return self._text.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text."""
        return self._text.decode(tokens)

    def apply_template(self, request: TemplateRequest) -> str:
        """It has no conversations."""
        raise errors.unsupported("conversations with this model: it is an encoder")

    def close(self) -> None:
        """Free the model."""
        self._outbox.close()
        self._free()

    def _encoded(self, path: str, text: str, pair: str | None = None) -> Encoded:
        encoded = self._text.encode(text, pair)
        if not encoded[0]:
            raise errors.invalid_params(path, "is empty")
        if len(encoded[0]) > self.info.context_length:
            raise errors.input_too_long(self.info.context_length, tokens=len(encoded[0]))
        return encoded

    def _padded(self, texts: list[Encoded]) -> Padded:
        longest = max(len(tokens) for tokens, _ in texts)

        def padded(rows: list[list[int]], filler: int) -> list[list[int]]:
            return [row + [filler] * (longest - len(row)) for row in rows]

        return Padded(
            tokens=padded([tokens for tokens, _ in texts], self._pad),
            mask=padded([[1] * len(tokens) for tokens, _ in texts], 0),
            types=padded([types for _, types in texts], 0),
        )


def _batches(texts: list[Encoded], cancelled: Cancelled) -> Iterator[list[int]]:
    """Indices, those of similar length together, so that little is padded. Raises `cancelled`."""
    batch: list[int] = []
    for index in sorted(range(len(texts)), key=lambda index: -len(texts[index][0])):
        if batch and (len(batch) + 1) * len(texts[batch[0]][0]) > _BATCH_TOKENS:
            yield batch
            batch = []
            if cancelled():
                raise errors.cancelled()
        batch.append(index)
    if batch:
        yield batch


def trained_length(model_type: str | None, positions: int, pad: int) -> int:
    """The longest text of a model with so many positions."""
    return positions - pad - 1 if model_type in _OFFSET_POSITIONS else positions
