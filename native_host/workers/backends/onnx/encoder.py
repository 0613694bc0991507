"""Models that read whole texts at once: embeddings, and cross-encoders for reranking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from native_host.protocol import errors
from native_host.workers.backends import Cancelled
from native_host.workers.backends.onnx.files import Graph
from native_host.workers.backends.onnx.providers import Place
from native_host.workers.backends.outbox import Outbox
from native_host.workers.backends.pooling import Pooling, pooling_of
from native_host.workers.backends.text import FolderText, read_json
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

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]
Encoded = tuple[list[int], list[int]]
"""A text's tokens and their types."""


class Encoder:
    """One loaded graph. It computes on the caller's thread; it has no events."""

    def __init__(
        self, folder: Path, graph: Graph, session: ort.InferenceSession, place: Place, options: LoadOptions
    ) -> None:
        """Read what belongs to the graph. Raises RpcError."""
        config = read_json(folder / "config.json")
        self._session = session
        self._text = FolderText(folder)
        self._inputs = _inputs(session)
        self._output = session.get_outputs()[0].name
        self._ranks = _is_cross_encoder(session, config)
        self._pooling: Pooling = pooling_of(folder)
        self._outbox = Outbox()
        self._pad = int(config.get("pad_token_id") or 0)
        trained = int(config.get("max_position_embeddings") or 512)
        if config.get("model_type") in _OFFSET_POSITIONS:
            trained -= self._pad + 1
        width = session.get_outputs()[0].shape[-1]
        self.info = ModelInfo(
            context_length=min(options.context_length or trained, trained),
            context_train_size=trained,
            vocab_size=self._text.size,
            embedding_dim=width if isinstance(width, int) and not self._ranks else 0,
            capabilities=["rerank" if self._ranks else "embed", "tokenize"],
            device=place.device,
            device_reason=place.reason,
            details={"weights_bytes": graph.bytes, "pooling": "rank" if self._ranks else self._pooling},
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
        vectors: list[list[float]] = [[]] * len(texts)
        for batch in self._batches(texts, cancelled):
            given = self._tensors([texts[index] for index in batch])
            pooled = _pool(self._run(given), given["attention_mask"], self._pooling)
            if request.normalize:
                pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
            for index, vector in zip(batch, pooled.tolist(), strict=True):
                vectors[index] = vector
        return EmbedResult(vectors, sum(len(tokens) for tokens, _ in texts))

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """The classifier's logit for the query with each document."""
        if not self._ranks:
            raise errors.unsupported("reranking by this model: it makes embeddings")
        texts = [
            self._encoded(f"documents[{index}]", request.query, document)
            for index, document in enumerate(request.documents)
        ]
        scores = np.empty(len(texts), np.float32)
        for batch in self._batches(texts, cancelled):
            scores[batch] = self._run(self._tensors([texts[index] for index in batch]))[:, 0]
        return RerankResult(scores.tolist(), sum(len(tokens) for tokens, _ in texts))

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
        del self._session

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

    def _tensors(self, texts: list[Encoded]) -> dict[str, Tokens]:
        longest = max(len(tokens) for tokens, _ in texts)

        def padded(rows: list[list[int]], filler: int) -> Tokens:
            return np.array([row + [filler] * (longest - len(row)) for row in rows], np.int64)

        return {
            "input_ids": padded([tokens for tokens, _ in texts], self._pad),
            "attention_mask": padded([[1] * len(tokens) for tokens, _ in texts], 0),
            "token_type_ids": padded([types for _, types in texts], 0),
        }

    def _run(self, given: dict[str, Tokens]) -> Floats:
        output = self._session.run([self._output], {name: given[name] for name in self._inputs})[0]
        values: Floats = output.astype(np.float32, copy=False)
        return values


def _inputs(session: ort.InferenceSession) -> list[str]:
    known = ("input_ids", "attention_mask", "token_type_ids")
    names = [each.name for each in session.get_inputs()]
    strange = [name for name in names if name not in known]
    if strange:
        raise errors.unsupported(f"an encoder's graph with the input {strange[0]!r}")
    return names


def _is_cross_encoder(session: ort.InferenceSession, config: dict[str, Any]) -> bool:
    """Raises unsupported for a classifier of several labels."""
    named = any(name.endswith("ForSequenceClassification") for name in config.get("architectures") or [])
    shape = session.get_outputs()[0].shape
    if named and shape[-1] != 1:
        raise errors.unsupported(f"a classifier of {shape[-1]} labels: rerankers have one")
    return named


def _pool(states: Floats, mask: Tokens, pooling: Pooling) -> Floats:
    """[texts, tokens, width] to [texts, width]; `mask` is 1 for tokens and 0 for the padding after them."""
    if states.ndim == 2:  # the graph has pooled already
        return states
    if pooling == "cls":
        return states[:, 0]
    if pooling == "last":
        last: Floats = states[np.arange(len(states)), mask.sum(1) - 1]
        return last
    weights = mask[:, :, None].astype(np.float32)
    mean: Floats = (states * weights).sum(1) / weights.sum(1)
    return mean
