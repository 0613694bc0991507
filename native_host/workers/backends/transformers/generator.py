"""A causal language model as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from native_host.protocol import errors
from native_host.workers.backends import Cancelled, Progress
from native_host.workers.backends.batching import LONGEST_CONTEXT, PARALLEL, StepLoop
from native_host.workers.backends.text import FolderText
from native_host.workers.backends.transformers.attention import NAME as OUR_ATTENTION
from native_host.workers.backends.transformers.forward import TorchForward
from native_host.workers.backends.transformers.loading import load_model, memory_of
from native_host.workers.backends.transformers.placing import DTYPES, Placement, dtype_name
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


class Generator:
    """One loaded model and the loop that runs it."""

    def __init__(
        self,
        folder: Path,
        config: dict[str, Any],
        placement: Placement,
        options: LoadOptions,
        progress: Progress,
    ) -> None:
        """Load it. Raises RpcError."""
        _refuse(config)
        self._text = FolderText(folder)
        model = load_model(
            AutoModelForCausalLM, folder, placement, options, progress, attention=OUR_ATTENTION
        )
        _require_attention(model)
        trained = int(getattr(model.config, "max_position_embeddings", LONGEST_CONTEXT))
        longest = options.context_length or min(trained, LONGEST_CONTEXT)
        parallel = options.parallel or PARALLEL
        if options.kv_cache_tokens is not None:
            longest = min(longest, options.kv_cache_tokens)
            parallel = max(1, min(parallel, options.kv_cache_tokens // longest))
        kv_dtype = _kv_dtype(options.kv_type)
        self._vocabulary = self._text.vocabulary(int(model.config.vocab_size))
        forward = TorchForward(model, placement.device, longest, kv_dtype)
        self._loop = StepLoop(forward, self._vocabulary, context_length=longest, parallel=parallel)
        self.cancel = self._loop.cancel
        self.pause = self._loop.pause
        self.resume = self._loop.resume
        self.drain = self._loop.drain
        self.fileno = self._loop.fileno
        template = self._text.chat_template is not None
        self.info = ModelInfo(
            context_length=longest,
            context_train_size=trained,
            vocab_size=len(self._vocabulary.pieces),
            embedding_dim=int(getattr(model.config, "hidden_size", 0)),
            chat_template=template,
            capabilities=["generate", "tokenize"] + (["chat"] if template else []),
            device=str(placement.device),
            device_reason=placement.reason,
            details=describe(model, placement),
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


def describe(model: PreTrainedModel, placement: Placement) -> dict[str, Any]:
    """What `models.list` may show of the weights: their numbers, bytes as they lie, and what they would take
    unquantized."""
    details: dict[str, Any] = {"dtype": dtype_name(placement.dtype), "weights_bytes": memory_of(model)}
    if placement.bits is not None:
        details["quantization"] = placement.bits
        details["unquantized_bytes"] = (
            sum(each.numel() for each in model.parameters()) * placement.dtype.itemsize
        )
    return details


def _kv_dtype(name: str | None) -> torch.dtype | None:
    if name is None:
        return None
    if name not in ("f32", "f16"):
        raise errors.invalid_params("kv_type", f"is {name!r}; SafeTensors models know 'f32' and 'f16'")
    return DTYPES[name]


def _refuse(config: dict[str, Any]) -> None:
    """Refuse, before gigabytes are read, what has no keys and values by position."""
    kinds = set(config.get("layer_types") or []) - {"full_attention", "sliding_attention"}
    if kinds:
        raise errors.unsupported(f"layers of the kind {sorted(kinds)[0]!r} in SafeTensors models")
    if config.get("is_encoder_decoder"):
        raise errors.unsupported("SafeTensors models of an encoder and a decoder")


def _require_attention(model: PreTrainedModel) -> None:
    if not getattr(model, "_supports_attention_backend", False):
        architecture = str(model.config.model_type)
        raise errors.unsupported(f"the architecture {architecture!r} as SafeTensors (its attention is fixed)")
