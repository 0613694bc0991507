"""Any transformers model as an ONNX graph, by torch's exporter."""

from __future__ import annotations

from typing import cast

import onnx
import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    DynamicCache,
    PreTrainedModel,
)

from native_host.models.convert.child.checkpoint import Checkpoint

_LOADERS = {
    "generate": AutoModelForCausalLM,
    "embed": AutoModel,
    "rerank": AutoModelForSequenceClassification,
}
# Any sizes but 0 and 1, which the exporter would take for constants.
_BATCH, _SEQUENCE, _PAST = 2, 3, 5


def load(checkpoint: Checkpoint) -> PreTrainedModel:
    """The model in float32, from SafeTensors on this machine only."""
    model = _LOADERS[checkpoint.kind].from_pretrained(
        checkpoint.folder,
        dtype=torch.float32,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
    )
    return cast("PreTrainedModel", model.eval())


class CausalStep(torch.nn.Module):
    """A causal model with its cache as plain tensors: past in, present out, logits of the last token only."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        past: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> tuple[torch.Tensor, ...]:
        """`past` holds keys and values by layer, [batch, heads, length, head]."""
        cache = DynamicCache()
        for layer, (key, value) in enumerate(past):
            cache.update(key, value, layer)
        output = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        present = [part for layer in output.past_key_values.layers for part in (layer.keys, layer.values)]
        return (output.logits, *present)


class Encoder(torch.nn.Module):
    """A model without a cache: the hidden states of every token, or a classifier's logits."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """All are [batch, sequence]."""
        segments = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        output: torch.Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, return_dict=False, **segments
        )[0]
        return output


def export(checkpoint: Checkpoint, model: PreTrainedModel) -> onnx.ModelProto:
    """The graph, its names as other exporters choose them: `past_key_values.0.key`, `present.0.key`."""
    with torch.no_grad():
        program = _causal(model) if checkpoint.kind == "generate" else _encoder(checkpoint, model)
    assert program is not None
    return program.model_proto


def _causal(model: PreTrainedModel) -> torch.onnx.ONNXProgram | None:
    sizes = _cache_sizes(model)
    past = [(torch.zeros(size), torch.zeros(size)) for size in sizes]
    tokens = torch.zeros((_BATCH, _SEQUENCE), dtype=torch.int64)
    positions = torch.arange(_PAST, _PAST + _SEQUENCE).expand(_BATCH, _SEQUENCE).contiguous()
    mask = torch.ones((_BATCH, _PAST + _SEQUENCE), dtype=torch.int64)
    cache_shape = {0: "batch", 2: "past"}
    tokens_shape = {0: "batch", 1: "sequence"}
    parts = [f"{layer}.{part}" for layer in range(len(sizes)) for part in ("key", "value")]
    return torch.onnx.export(
        CausalStep(model).eval(),
        (tokens, mask, positions, past),
        dynamo=True,
        input_names=[
            *("input_ids", "attention_mask", "position_ids"),
            *(f"past_key_values.{part}" for part in parts),
        ],
        output_names=["logits", *(f"present.{part}" for part in parts)],
        dynamic_shapes=(
            tokens_shape,
            {0: "batch", 1: "total"},
            tokens_shape,
            [(cache_shape, cache_shape)] * len(sizes),
        ),
        verbose=False,
    )


def _cache_sizes(model: PreTrainedModel) -> list[tuple[int, ...]]:
    """The size of each layer's keys, found by running one token: configurations name it in many ways."""
    with torch.no_grad():
        output = model(input_ids=torch.zeros((1, 1), dtype=torch.int64), use_cache=True)
    return [
        (_BATCH, layer.keys.shape[1], _PAST, layer.keys.shape[3]) for layer in output.past_key_values.layers
    ]


def encoder_inputs(checkpoint: Checkpoint) -> list[str]:
    """What the graph of a model without a cache takes."""
    segments = int(checkpoint.config.get("type_vocab_size") or 0) > 1
    return ["input_ids", "attention_mask", *(["token_type_ids"] if segments else [])]


def _encoder(checkpoint: Checkpoint, model: PreTrainedModel) -> torch.onnx.ONNXProgram | None:
    names = encoder_inputs(checkpoint)
    inputs = tuple(torch.ones((_BATCH, _SEQUENCE), dtype=torch.int64) for _ in names)
    return torch.onnx.export(
        Encoder(model).eval(),
        inputs,
        dynamo=True,
        input_names=names,
        output_names=["last_hidden_state" if checkpoint.kind == "embed" else "logits"],
        dynamic_shapes=tuple({0: "batch", 1: "sequence"} for _ in names),
        verbose=False,
    )
