"""A causal language model as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from native_host.workers.backends.batching import LONGEST_CONTEXT, Forward, StepLoop
from native_host.workers.backends.looped import LoopedModel, capabilities, room
from native_host.workers.backends.onnx.copied_cache import CopiedCacheForward
from native_host.workers.backends.onnx.files import Graph
from native_host.workers.backends.onnx.providers import Place
from native_host.workers.backends.onnx.shared_cache import SharedCacheForward
from native_host.workers.backends.onnx.signature import Signature, read_signature
from native_host.workers.backends.text import FolderText, read_json
from native_host.workers.messages import LoadOptions, ModelInfo

_STEP_TOKENS = 256
"""Most tokens of a step. A graph that answers with logits for every token makes a table of so many rows."""


class Generator(LoopedModel):
    """One loaded graph and the loop that runs it."""

    def __init__(
        self, folder: Path, graph: Graph, session: ort.InferenceSession, place: Place, options: LoadOptions
    ) -> None:
        """Read what belongs to the graph. Raises RpcError."""
        text = FolderText(folder)
        signature = read_signature(session, graph.settings)
        trained = _trained_length(folder, graph.settings)
        longest, parallel = room(options, trained)
        shared = "GroupQueryAttention" in graph.operators and place.device == "cpu"
        vocabulary = text.vocabulary(signature.vocabulary)
        loop = StepLoop(
            _forward(session, signature, place, parallel, longest, shared),
            vocabulary,
            context_length=longest,
            parallel=parallel,
            batch=_STEP_TOKENS,
        )
        info = ModelInfo(
            context_length=longest,
            context_train_size=trained,
            vocab_size=signature.vocabulary,
            chat_template=text.chat_template is not None,
            capabilities=capabilities(text),
            device=place.device,
            device_reason=place.reason,
            details=_details(graph, signature, shared),
        )
        super().__init__(text, vocabulary, loop, info)


def _forward(
    session: ort.InferenceSession,
    signature: Signature,
    place: Place,
    parallel: int,
    longest: int,
    shared: bool,
) -> Forward:
    if shared:
        return SharedCacheForward(session, signature, parallel, longest)
    devices = {"cuda": "cuda", "directml": "dml"}
    return CopiedCacheForward(session, signature, devices.get(place.device, "cpu"))


def _trained_length(folder: Path, settings: dict[str, Any]) -> int:
    given = settings.get("model", {}).get("context_length")
    config = read_json(folder / "config.json")
    for value in (given, config.get("max_position_embeddings"), config.get("n_positions")):
        if isinstance(value, int) and value > 0:
            return value
    return LONGEST_CONTEXT


def _details(graph: Graph, signature: Signature, shared: bool) -> dict[str, Any]:
    if shared:
        copied = "nothing: keys and values are written in place (GroupQueryAttention)"
    else:
        row = sum(each.heads * each.head * each.dtype().itemsize for each in signature.cache)
        copied = f"the cache, {row} bytes for each token of a sequence (the graph has no GroupQueryAttention)"
    return {
        "weights_bytes": graph.bytes,
        "quantized": bool(graph.operators & {"MatMulNBits", "MatMulInteger", "DequantizeLinear"}),
        "step_copies": copied,
    }
