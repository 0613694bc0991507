"""Models that read whole texts at once: embeddings, and cross-encoders for reranking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, PretrainedConfig

from native_host.protocol import errors
from native_host.workers.backends import Cancelled, Progress
from native_host.workers.backends.outbox import Outbox
from native_host.workers.backends.pooling import Pooling, pooling_of
from native_host.workers.backends.text import FolderText
from native_host.workers.backends.transformers.generator import describe
from native_host.workers.backends.transformers.loading import load_model
from native_host.workers.backends.transformers.placing import Placement
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    Event,
    GenerateRequest,
    LoadOptions,
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


class Encoder:
    """One loaded model. It computes on the caller's thread; it has no events."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        placement: Placement,
        options: LoadOptions,
        progress: Progress,
    ) -> None:
        """Load it. Raises RpcError."""
        self._text = FolderText(folder)
        self._ranks = _is_cross_encoder(config)
        kind = AutoModelForSequenceClassification if self._ranks else AutoModel
        self._model = load_model(kind, folder, placement, options, progress)
        if self._ranks and self._model.config.num_labels != 1:
            labels = int(self._model.config.num_labels)
            raise errors.unsupported(f"a classifier of {labels} labels: rerankers have one")
        self._device = placement.device
        self._pooling: Pooling = pooling_of(folder)
        self._outbox = Outbox()
        self._pad = int(getattr(self._model.config, "pad_token_id", None) or 0)
        self._typed = int(getattr(self._model.config, "type_vocab_size", 0)) > 0
        trained = _positions(self._model.config, self._pad)
        self.info = ModelInfo(
            context_length=min(options.context_length or trained, trained),
            context_train_size=trained,
            vocab_size=self._text.size,
            embedding_dim=0 if self._ranks else int(self._model.config.hidden_size),
            capabilities=["rerank" if self._ranks else "embed", "tokenize"],
            device=str(placement.device),
            device_reason=placement.reason,
            details={**describe(self._model, placement), "pooling": "rank" if self._ranks else self._pooling},
        )

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
        if self._ranks:
            raise errors.unsupported("embeddings of this model: it is a reranker")
        texts = [self._encoded(f"input[{index}]", text) for index, text in enumerate(request.inputs)]
        vectors = torch.empty((len(texts), self.info.embedding_dim))
        for batch in self._batches(texts, cancelled):
            tokens = self._tensors([texts[index] for index in batch])
            with torch.inference_mode():
                states = self._model(**tokens).last_hidden_state.float()
                pooled = _pool(states, tokens["attention_mask"], self._pooling)
            if request.normalize:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
            vectors[batch] = pooled.cpu()
        return EmbedResult(vectors.tolist(), sum(len(tokens) for tokens, _ in texts))

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """A score for each document: the model's one logit."""
        if not self._ranks:
            raise errors.unsupported("reranking by this model: it makes embeddings")
        texts = [
            self._encoded(f"documents[{index}]", request.query, document)
            for index, document in enumerate(request.documents)
        ]
        scores = torch.empty(len(texts))
        for batch in self._batches(texts, cancelled):
            with torch.inference_mode():
                logits = self._model(**self._tensors([texts[index] for index in batch])).logits
            scores[batch] = logits[:, 0].float().cpu()
        return RerankResult(scores.tolist(), sum(len(tokens) for tokens, _ in texts))

    def _encoded(self, path: str, text: str, pair: str | None = None) -> Encoded:
        encoded = self._text.encode(text, pair)
        if not encoded[0]:
            raise errors.invalid_params(path, "is empty")
        if len(encoded[0]) > self.info.context_length:
            raise errors.input_too_long(self.info.context_length, tokens=len(encoded[0]))
        return encoded

    def _batches(self, texts: list[Encoded], cancelled: Cancelled) -> Iterator[list[int]]:
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

    def _tensors(self, texts: list[Encoded]) -> dict[str, torch.Tensor]:
        longest = max(len(tokens) for tokens, _ in texts)

        def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
            return torch.tensor([row + [filler] * (longest - len(row)) for row in rows], device=self._device)

        tensors = {
            "input_ids": padded([tokens for tokens, _ in texts], self._pad),
            "attention_mask": padded([[1] * len(tokens) for tokens, _ in texts], 0),
        }
        if self._typed:
            tensors["token_type_ids"] = padded([types for _, types in texts], 0)
        return tensors

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
        del self._model


def _is_cross_encoder(config: dict[str, Any]) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or [])


def _positions(config: PretrainedConfig, pad: int) -> int:
    positions = int(getattr(config, "max_position_embeddings", 512))
    return positions - pad - 1 if config.model_type in _OFFSET_POSITIONS else positions


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[texts, tokens, width] to [texts, width]; `mask` is 1 for tokens and 0 for the padding after them."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
