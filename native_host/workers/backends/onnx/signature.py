"""What a causal graph takes and gives: the names of its inputs and outputs, and the shape of its cache."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort

from native_host.protocol import errors

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_TOKENS = ("input_ids", "attention_mask", "position_ids")


class CacheTensor(msgspec.Struct, frozen=True):
    """One layer's keys or values: [batch, heads, length, head], past going in and present coming out."""

    past: str
    present: str
    heads: int
    head: int
    dtype: type[np.float32] | type[np.float16]


class Signature(msgspec.Struct, frozen=True):
    """`tokens` are the inputs by what they are; `last_only` says that logits come for the last token only."""

    tokens: dict[str, str]
    logits: str
    logits_dtype: type[np.float32] | type[np.float16]
    vocabulary: int
    last_only: bool
    cache: list[CacheTensor]


def read_signature(session: ort.InferenceSession, settings: dict[str, Any]) -> Signature:
    """By the names that genai_config.json gives, else by those in general use. Raises unsupported."""
    decoder = settings.get("model", {}).get("decoder", {})
    named_in, named_out = decoder.get("inputs", {}), decoder.get("outputs", {})
    inputs = {each.name: each for each in session.get_inputs()}
    outputs = {each.name: each for each in session.get_outputs()}
    logits = outputs.get(named_out.get("logits", "logits"))
    if logits is None or not isinstance(logits.shape[-1], int) or logits.type not in _TYPES:
        raise errors.unsupported("a graph without logits of a fixed width")
    tokens = {kind: named_in.get(kind, kind) for kind in _TOKENS if named_in.get(kind, kind) in inputs}
    cache = [
        CacheTensor(past, present, each.shape[1], each.shape[3], _TYPES[each.type])
        for past, present in _pairs(named_in, named_out, inputs)
        if present in outputs and _is_cache(each := inputs[past])
    ]
    strange = set(inputs) - set(tokens.values()) - {each.past for each in cache}
    if strange or not cache or "input_ids" not in tokens:
        what = f"the input {sorted(strange)[0]!r}" if strange else "no cache of keys and values"
        raise errors.unsupported(f"a language model's graph with {what}")
    return Signature(tokens, logits.name, _TYPES[logits.type], logits.shape[-1], logits.shape[1] == 1, cache)


def _is_cache(tensor: Any) -> bool:  # noqa: ANN401 -- onnxruntime has no types
    shape = tensor.shape
    return (
        len(shape) == 4 and isinstance(shape[1], int) and isinstance(shape[3], int) and tensor.type in _TYPES
    )


def _pairs(
    named_in: dict[str, str], named_out: dict[str, str], inputs: dict[str, Any]
) -> list[tuple[str, str]]:
    """Names of past and present, layer by layer."""
    patterns = [
        (
            named_in.get(f"past_{part}_names", f"past_key_values.%d.{part}"),
            named_out.get(f"present_{part}_names", f"present.%d.{part}"),
        )
        for part in ("key", "value")
    ]
    pairs: list[tuple[str, str]] = []
    layer = 0
    while all(past % layer in inputs for past, _ in patterns):
        pairs += [(past % layer, present % layer) for past, present in patterns]
        layer += 1
    return pairs
