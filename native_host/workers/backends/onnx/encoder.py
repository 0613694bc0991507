"""Models that read whole texts at once: embeddings, and cross-encoders for reranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from native_host.protocol import errors
from native_host.workers.backends.onnx.files import Graph
from native_host.workers.backends.onnx.providers import Place
from native_host.workers.backends.pooling import Pooling, pooling_of
from native_host.workers.backends.text import FolderText, read_json
from native_host.workers.backends.vectors import Padded, VectorModel, trained_length
from native_host.workers.messages import LoadOptions, ModelInfo

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]


class Encoder(VectorModel):
    """One loaded graph."""

    def __init__(
        self, folder: Path, graph: Graph, session: ort.InferenceSession, place: Place, options: LoadOptions
    ) -> None:
        """Read what belongs to the graph. Raises RpcError."""
        config = read_json(folder / "config.json")
        self._session = session
        text = FolderText(folder)
        self._inputs = _inputs(session)
        self._output = session.get_outputs()[0].name
        ranks = _is_cross_encoder(session, config)
        self._pooling: Pooling = pooling_of(folder)
        pad = int(config.get("pad_token_id") or 0)
        positions = int(config.get("max_position_embeddings") or 512)
        trained = trained_length(config.get("model_type"), positions, pad)
        width = session.get_outputs()[0].shape[-1]
        info = ModelInfo(
            context_length=min(options.context_length or trained, trained),
            context_train_size=trained,
            vocab_size=text.size,
            embedding_dim=width if isinstance(width, int) and not ranks else 0,
            capabilities=["rerank" if ranks else "embed", "tokenize"],
            device=place.device,
            device_reason=place.reason,
            details={"weights_bytes": graph.bytes, "pooling": "rank" if ranks else self._pooling},
        )
        super().__init__(text, info, pad)

    def _embed_batch(self, batch: Padded, normalize: bool) -> list[list[float]]:
        pooled = _pool(self._run(batch), np.array(batch.mask), self._pooling)
        if normalize:
            pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        vectors: list[list[float]] = pooled.tolist()
        return vectors

    def _score_batch(self, batch: Padded) -> list[float]:
        scores: list[float] = self._run(batch)[:, 0].tolist()
        return scores

    def _free(self) -> None:
        del self._session

    def _run(self, batch: Padded) -> Floats:
        given = {"input_ids": batch.tokens, "attention_mask": batch.mask, "token_type_ids": batch.types}
        tensors = {name: np.array(given[name], np.int64) for name in self._inputs}
        output = self._session.run([self._output], tensors)[0]
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
