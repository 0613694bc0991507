"""Models that read whole texts at once: embeddings, and cross-encoders for reranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification

from native_host.protocol import errors
from native_host.workers.backends import Progress
from native_host.workers.backends.pooling import Pooling, pooling_of
from native_host.workers.backends.text import FolderText
from native_host.workers.backends.transformers.generator import describe
from native_host.workers.backends.transformers.loading import load_model
from native_host.workers.backends.transformers.placing import Placement
from native_host.workers.backends.vectors import Padded, VectorModel, trained_length
from native_host.workers.messages import LoadOptions, ModelInfo


class Encoder(VectorModel):
    """One loaded model."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        placement: Placement,
        options: LoadOptions,
        progress: Progress,
    ) -> None:
        """Load it. Raises RpcError."""
        if options.adapters:
            raise errors.unsupported("adapters for embedding models and rerankers")
        text = FolderText(folder)
        ranks = _is_cross_encoder(config)
        kind = AutoModelForSequenceClassification if ranks else AutoModel
        self._model = load_model(kind, folder, placement, options, progress)
        if ranks and self._model.config.num_labels != 1:
            labels = int(self._model.config.num_labels)
            raise errors.unsupported(f"a classifier of {labels} labels: rerankers have one")
        self._device = placement.device
        self._pooling: Pooling = pooling_of(folder)
        pad = int(getattr(self._model.config, "pad_token_id", None) or 0)
        self._typed = int(getattr(self._model.config, "type_vocab_size", 0)) > 0
        positions = int(getattr(self._model.config, "max_position_embeddings", 512))
        trained = trained_length(self._model.config.model_type, positions, pad)
        info = ModelInfo(
            context_length=min(options.context_length or trained, trained),
            context_train_size=trained,
            vocab_size=text.size,
            embedding_dim=0 if ranks else int(self._model.config.hidden_size),
            capabilities=["rerank" if ranks else "embed", "tokenize"],
            device=str(placement.device),
            device_reason=placement.reason,
            details={**describe(self._model, placement), "pooling": "rank" if ranks else self._pooling},
        )
        super().__init__(text, info, pad)

    @torch.inference_mode()
    def _embed_batch(self, batch: Padded, normalize: bool) -> list[list[float]]:
        tensors = self._tensors(batch)
        states = self._model(**tensors).last_hidden_state.float()
        pooled = _pool(states, tensors["attention_mask"], self._pooling)
        if normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        vectors: list[list[float]] = pooled.tolist()
        return vectors

    @torch.inference_mode()
    def _score_batch(self, batch: Padded) -> list[float]:
        scores: list[float] = self._model(**self._tensors(batch)).logits[:, 0].float().tolist()
        return scores

    def _free(self) -> None:
        del self._model

    def _tensors(self, batch: Padded) -> dict[str, torch.Tensor]:
        given = {"input_ids": batch.tokens, "attention_mask": batch.mask}
        if self._typed:
            given["token_type_ids"] = batch.types
        return {name: torch.tensor(rows, device=self._device) for name, rows in given.items()}


def _is_cross_encoder(config: dict[str, Any]) -> bool:
    return any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or [])


def _pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """[texts, tokens, width] to [texts, width]; `mask` is 1 for tokens and 0 for the padding after them."""
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]
    weights = mask[:, :, None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
