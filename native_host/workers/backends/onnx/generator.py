"""A causal language model as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from native_host.protocol import errors
from native_host.workers.backends import Cancelled
from native_host.workers.backends.batching import LONGEST_CONTEXT, PARALLEL, Forward, StepLoop
from native_host.workers.backends.onnx.copied_cache import CopiedCacheForward
from native_host.workers.backends.onnx.files import Graph
from native_host.workers.backends.onnx.providers import Place
from native_host.workers.backends.onnx.shared_cache import SharedCacheForward
from native_host.workers.backends.onnx.signature import Signature, read_signature
from native_host.workers.backends.text import FolderText, read_json
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
)

_STEP_TOKENS = 256
"""Most tokens of a step. A graph that answers with logits for every token makes a table of so many rows."""


class Generator:
    """One loaded graph and the loop that runs it."""

    def __init__(
        self, folder: Path, graph: Graph, session: ort.InferenceSession, place: Place, options: LoadOptions
    ) -> None:
        """Read what belongs to the graph. Raises RpcError."""
        self._text = FolderText(folder)
        signature = read_signature(session, graph.settings)
        trained = _trained_length(folder, graph.settings)
        longest = options.context_length or min(trained, LONGEST_CONTEXT)
        parallel = options.parallel or PARALLEL
        if options.kv_cache_tokens is not None:
            longest = min(longest, options.kv_cache_tokens)
            parallel = max(1, min(parallel, options.kv_cache_tokens // longest))
        shared = "GroupQueryAttention" in graph.operators and place.device == "cpu"
        self._vocabulary = self._text.vocabulary(signature.vocabulary)
        self._loop = StepLoop(
            _forward(session, signature, place, parallel, longest, shared),
            self._vocabulary,
            context_length=longest,
            parallel=parallel,
            batch=_STEP_TOKENS,
        )
        self.cancel = self._loop.cancel
        self.pause = self._loop.pause
        self.resume = self._loop.resume
        self.drain = self._loop.drain
        self.fileno = self._loop.fileno
        template = self._text.chat_template is not None
        self.info = ModelInfo(
            context_length=longest,
            context_train_size=trained,
            vocab_size=signature.vocabulary,
            chat_template=template,
            capabilities=["generate", "tokenize"] + (["chat"] if template else []),
            device=place.device,
            device_reason=place.reason,
            details=_details(graph, signature, shared),
        )

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; a conversation goes through the model's chat template first."""
        if request.adapters:
            raise errors.adapter_not_found(request.adapters[0].name)
        self._loop.submit(request_id, self._text.prompt_tokens(request, self.info.context_length), request)

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """A language model has no vectors to give."""
        raise errors.unsupported("embeddings of this model: it is a language model")

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """A language model has no scores to give."""
        raise errors.unsupported("reranking by this model: it is a language model")

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids."""
        return self._text.tokenize(text, add_special, parse_special)

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text."""
        return self._text.detokenize(tokens, self._vocabulary)

    def apply_template(self, request: TemplateRequest) -> str:
        """The model's own chat template, in the native module's sandbox."""
        return self._text.apply_template(request)

    def close(self) -> None:
        """Free the model."""
        self._loop.close()


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
