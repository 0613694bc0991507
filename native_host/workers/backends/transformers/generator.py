"""A causal language model as a backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from native_host.protocol import errors
from native_host.workers.backends import Progress
from native_host.workers.backends.batching import LONGEST_CONTEXT, StepLoop
from native_host.workers.backends.looped import LoopedModel, capabilities, room
from native_host.workers.backends.text import FolderText
from native_host.workers.backends.transformers.attention import NAME as OUR_ATTENTION
from native_host.workers.backends.transformers.forward import TorchForward
from native_host.workers.backends.transformers.loading import load_model, memory_of
from native_host.workers.backends.transformers.placing import DTYPES, Placement, dtype_name
from native_host.workers.messages import LoadOptions, ModelInfo

if TYPE_CHECKING:
    from native_host.workers.backends.transformers.adapters import Adapters


class Generator(LoopedModel):
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
        text = FolderText(folder)
        model = load_model(
            AutoModelForCausalLM, folder, placement, options, progress, attention=OUR_ATTENTION
        )
        _require_attention(model)
        trained = int(getattr(model.config, "max_position_embeddings", LONGEST_CONTEXT))
        longest, parallel = room(options, trained)
        kv_dtype = _kv_dtype(options.kv_type)
        vocabulary = text.vocabulary(int(model.config.vocab_size))
        adapters = _adapters(model, options)
        forward = TorchForward(model, placement.device, longest, kv_dtype, adapters)
        loop = StepLoop(
            forward, vocabulary, context_length=longest, parallel=parallel, adapters=options.adapters
        )
        info = ModelInfo(
            context_length=longest,
            context_train_size=trained,
            vocab_size=len(vocabulary.pieces),
            embedding_dim=int(getattr(model.config, "hidden_size", 0)),
            chat_template=text.chat_template is not None,
            capabilities=capabilities(text),
            device=str(placement.device),
            device_reason=placement.reason,
            details=describe(model, placement),
        )
        super().__init__(text, vocabulary, loop, info)


def _adapters(model: PreTrainedModel, options: LoadOptions) -> Adapters | None:
    if not options.adapters:
        return None
    # peft takes seconds to import.
    from native_host.workers.backends.transformers.adapters import Adapters

    return Adapters(model, options.adapters)


def describe(model: PreTrainedModel, placement: Placement) -> dict[str, Any]:
    """What `models.list` may show of the weights: their numbers, bytes as they lie, and what they would take
    unquantized."""
    details: dict[str, Any] = {"dtype": dtype_name(placement.dtype), "weights_bytes": memory_of(model)}
    if placement.bits is not None:
        details["quantization"] = placement.bits
        details["unquantized_bytes"] = model.num_parameters() * placement.dtype.itemsize
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
