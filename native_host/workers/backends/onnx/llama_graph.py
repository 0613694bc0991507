"""Writes a Llama as an ONNX graph, node by node, without torch.

The graph keeps its cache in GroupQueryAttention, an operator that onnxruntime has on every provider: key and
value buffers are written in place, so a step copies nothing, and rows of a batch may be of different
lengths. Its inputs and outputs are named as onnxruntime-genai names them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]

_OPSET = 23
_EMBEDDINGS = "model.embed_tokens.weight"


class UnknownShapeError(ValueError):
    """The model is not quite a Llama as this module knows it; the text says in what."""


class LlamaShape:
    """The hyperparameters of `config.json` that the graph depends on. Raises UnknownShapeError."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        if config.get("model_type") != "llama":
            raise UnknownShapeError(f"model_type is {config.get('model_type')!r}, not 'llama'")
        for key, plain in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
            if config.get(key, plain) != plain:
                raise UnknownShapeError(f"{key} is {config[key]!r}")
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            raise UnknownShapeError(f"rope is scaled by {rope}")
        self.layers = int(config["num_hidden_layers"])
        self.width = int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        self.kv_heads = int(config.get("num_key_value_heads") or self.heads)
        self.head = int(config.get("head_dim") or self.width // self.heads)
        self.vocabulary = int(config["vocab_size"])
        self.context = int(config["max_position_embeddings"])
        self.epsilon = float(config["rms_norm_eps"])
        self.rope_base = float(config.get("rope_theta") or rope.get("rope_theta") or 10_000.0)
        self.tied = bool(config.get("tie_word_embeddings", False))


def llama_graph(config: Mapping[str, Any], weights: Mapping[str, Array]) -> onnx.ModelProto:
    """The graph of a Llama, in float32. `weights` are Hugging Face's, by name.

    Raises UnknownShapeError, and KeyError for a weight that is missing.
    """
    return _Graph(LlamaShape(config), weights).model()


def genai_config(config: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The `genai_config.json` that tells onnxruntime-genai how to run the graph in `file`."""
    shape = LlamaShape(config)
    cache = {
        "past_key_names": "past_key_values.%d.key",
        "past_value_names": "past_key_values.%d.value",
    }
    return {
        "model": {
            "bos_token_id": config.get("bos_token_id"),
            "context_length": shape.context,
            "decoder": {
                "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
                "filename": file,
                "head_size": shape.head,
                "hidden_size": shape.width,
                "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask", **cache},
                "outputs": {
                    "logits": "logits",
                    "present_key_names": "present.%d.key",
                    "present_value_names": "present.%d.value",
                },
                "num_attention_heads": shape.heads,
                "num_hidden_layers": shape.layers,
                "num_key_value_heads": shape.kv_heads,
            },
            "eos_token_id": config.get("eos_token_id"),
            "pad_token_id": config.get("pad_token_id") or config.get("eos_token_id"),
            "type": "llama",
            "vocab_size": shape.vocabulary,
        },
        "search": {"max_length": shape.context, "past_present_share_buffer": True},
    }


class _Graph:
    """Collects the nodes and weights of one model."""

    def __init__(self, shape: LlamaShape, weights: Mapping[str, Array]) -> None:
        self._shape = shape
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._stored: list[TensorProto] = []

    def model(self) -> onnx.ModelProto:
        """The whole graph."""
        inputs, outputs = self._faces()
        logits = self._logits(self._last_states())
        self._node("Identity", [logits], "logits")
        graph = helper.make_graph(self._nodes, "llama", inputs, outputs, self._stored)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="native-host")

    def _faces(self) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
        def cache(prefix: str, length: str) -> list[onnx.ValueInfoProto]:
            sizes: list[str | int | None] = ["batch", self._shape.kv_heads, length, self._shape.head]
            return [
                helper.make_tensor_value_info(f"{prefix}.{layer}.{part}", TensorProto.FLOAT, sizes)
                for layer in range(self._shape.layers)
                for part in ("key", "value")
            ]

        tokens = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "sequence"])
        mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["batch", "total"])
        sizes: list[str | int | None] = ["batch", 1, self._shape.vocabulary]
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, sizes)
        return [tokens, mask, *cache("past_key_values", "past")], [logits, *cache("present", "kept")]

    def _last_states(self) -> str:
        """The hidden states behind each row's last token, [batch, 1, width]."""
        self._lengths()
        self._rope_tables()
        state = self._node("Gather", [self._weight(_EMBEDDINGS), "input_ids"], "embedded")
        for layer in range(self._shape.layers):
            state = self._block(layer, state)
        last = self._constant("last", np.array([-1], np.int64))
        state = self._node("Gather", [state, last], "last_state", axis=1)
        return self._norm(state, "model.norm.weight")

    def _lengths(self) -> None:
        """What GroupQueryAttention asks: each row's length less one, and the longest length."""
        rows = self._constant("rows", np.array([1], np.int64))
        one = self._constant("one", np.array(1, np.int32))
        mask = self._node("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
        length = self._node("ReduceSum", [mask, rows], "length", keepdims=0)
        self._node("Sub", [length, one], "seqlens_k")
        sizes = self._node("Shape", ["attention_mask"], "mask_sizes")
        total = self._node("Gather", [sizes, self._constant("second", np.array(1, np.int64))], "total_size")
        self._node("Cast", [total], "total_sequence_length", to=TensorProto.INT32)

    def _rope_tables(self) -> None:
        """Cosines and sines by position, computed as transformers does: frequencies in float32."""
        steps = np.arange(0, self._shape.head, 2, dtype=np.float32) / np.float32(self._shape.head)
        frequencies = (1.0 / np.float32(self._shape.rope_base) ** steps).astype(np.float32)
        angles = np.arange(self._shape.context, dtype=np.float32)[:, None] * frequencies
        self._store("cos", np.cos(angles))
        self._store("sin", np.sin(angles))

    def _block(self, layer: int, state: str) -> str:
        prefix = f"model.layers.{layer}."
        normed = self._norm(state, prefix + "input_layernorm.weight")
        state = self._add(state, self._attention(layer, normed), prefix + "attended")
        normed = self._norm(state, prefix + "post_attention_layernorm.weight")
        gate = self._linear(normed, prefix + "mlp.gate_proj.weight")
        open_ = self._node("Sigmoid", [gate], prefix + "sigmoid")
        gated = self._node("Mul", [gate, open_], prefix + "silu")
        up = self._linear(normed, prefix + "mlp.up_proj.weight")
        product = self._node("Mul", [gated, up], prefix + "gated")
        return self._add(state, self._linear(product, prefix + "mlp.down_proj.weight"), prefix + "output")

    def _attention(self, layer: int, state: str) -> str:
        prefix = f"model.layers.{layer}.self_attn."
        query, key, value = (self._linear(state, f"{prefix}{part}_proj.weight") for part in "qkv")
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        attended = prefix + "attention"
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [query, key, value, *past, "seqlens_k", "total_sequence_length", "cos", "sin"],
                [attended, *present],
                name=attended,
                domain="com.microsoft",
                num_heads=self._shape.heads,
                kv_num_heads=self._shape.kv_heads,
                scale=1.0 / math.sqrt(self._shape.head),
                do_rotary=1,
                rotary_interleaved=0,
            )
        )
        return self._linear(attended, prefix + "o_proj.weight")

    def _logits(self, state: str) -> str:
        if not self._shape.tied:
            return self._linear(state, "lm_head.weight")
        turned = self._node("Transpose", [_EMBEDDINGS], "turned_embeddings", perm=[1, 0])
        return self._node("MatMul", [state, turned], "scores")

    def _norm(self, state: str, weight: str) -> str:
        name = weight.removesuffix(".weight") + ".normed"
        scale = self._weight(weight)
        return self._node("RMSNormalization", [state, scale], name, axis=-1, epsilon=self._shape.epsilon)

    def _add(self, left: str, right: str, name: str) -> str:
        return self._node("Add", [left, right], name)

    def _linear(self, state: str, weight: str) -> str:
        """`state` times a matrix, which is stored as MatMul and the quantizers want it: [inputs, outputs]."""
        self._store(weight, self._weights[weight].T)
        return self._node("MatMul", [state, weight], f"{weight}.product")

    def _weight(self, name: str) -> str:
        return self._store(name, self._weights[name])

    def _constant(self, name: str, value: Array) -> str:
        return self._store(f"constant.{name}", value)

    def _store(self, name: str, value: Array) -> str:
        stored = value.astype(np.float32) if value.dtype.kind == "f" else value
        self._stored.append(numpy_helper.from_array(np.ascontiguousarray(stored), name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 -- ONNX attributes are of many kinds
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output
