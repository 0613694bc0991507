"""Attention for batches of requests of different lengths: no padding, no masks between requests.

All tokens of a step go through the model as one row; only here they are told apart. It is registered with
transformers as an attention implementation, so any of its models that lets these be chosen runs with it.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "tabagent"
_FIRST_CAPACITY = 64


class SequenceCache:
    """Keys and values of one sequence, by layer; [1, kv heads, capacity, head]. It doubles as it fills."""

    def __init__(self, longest: int, dtype: torch.dtype | None) -> None:
        self._longest = longest
        self._dtype = dtype
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def put(
        self, layer: int, start: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write from position `start` on; answers everything up to the end of what was written."""
        end = start + keys.shape[2]
        stored = self._with_room(layer, end, keys, values)
        for cache, new in zip(stored, (keys, values), strict=True):
            cache[:, :, start:end] = new
        return stored[0][:, :, :end], stored[1][:, :, :end]

    def _with_room(
        self, layer: int, end: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        held = self._layers.get(layer)
        if held is not None and held[0].shape[2] >= end:
            return held
        capacity = max(_FIRST_CAPACITY, 1 << (end - 1).bit_length())
        capacity = max(min(capacity, self._longest), end)
        grown = tuple(
            self._grown(capacity, new, old)
            for new, old in zip((keys, values), held or (None, None), strict=True)
        )
        self._layers[layer] = (grown[0], grown[1])
        return self._layers[layer]

    def _grown(self, capacity: int, like: torch.Tensor, old: torch.Tensor | None) -> torch.Tensor:
        heads, width = like.shape[1], like.shape[3]
        grown = like.new_empty((1, heads, capacity, width), dtype=self._dtype or like.dtype)
        if old is not None:
            grown[:, :, : old.shape[2]] = old
        return grown


class Part:
    """What a step has of one sequence: tokens `begin` to `end` of the row, from position `start` on."""

    def __init__(self, cache: SequenceCache, start: int, begin: int, end: int) -> None:
        self.cache = cache
        self.start = start
        self.begin = begin
        self.end = end
        self._masks: dict[int | None, torch.Tensor | None] = {}

    def mask(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        """Which of the positions up to the last each token may see; `None` for all, which only a lone token
        may. The same for every layer with this window."""
        if window not in self._masks:
            self._masks[window] = self._mask(window, device)
        return self._masks[window]

    def _mask(self, window: int | None, device: torch.device) -> torch.Tensor | None:
        count = self.end - self.begin
        length = self.start + count
        if count == 1 and (window is None or length <= window):
            return None
        ours = torch.arange(self.start, length, device=device)[:, None]
        theirs = torch.arange(length, device=device)[None, :]
        visible = theirs <= ours
        return visible if window is None else visible & (theirs > ours - window)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    step_parts: list[Part] | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface. `query` is [1, heads, tokens, head]; the answer has tokens before
    heads."""
    parts = step_parts or []
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # every attention that keeps a cache has one
    output = query.new_empty((1, query.shape[2], query.shape[1], value.shape[3]))
    for part in parts:
        new = slice(part.begin, part.end)
        keys, values = part.cache.put(layer, part.start, key[:, :, new], value[:, :, new])
        keys, values = keys.to(query.dtype), values.to(query.dtype)
        mask = part.mask(sliding_window, query.device)
        if softcap is None and s_aux is None:
            attended = _attend_one(query[:, :, new], keys, values, mask, scaling)
        else:
            attended = _attend_plainly(query[:, :, new], keys, values, mask, scaling, softcap, s_aux)
        output[:, new] = attended.transpose(1, 2)
    return output, None


def _attend_one(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
) -> torch.Tensor:
    heads, count, width = query.shape[1:]
    kv_heads = keys.shape[1]
    if count == 1 and heads != kv_heads and mask is None:
        # The heads that share keys are as good as several queries: nothing need be repeated.
        packed = query.reshape(1, kv_heads, heads // kv_heads, width)
        return scaled_dot_product_attention(packed, keys, values, scale=scaling).reshape(1, heads, 1, -1)
    return scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, scale=scaling, enable_gqa=heads != kv_heads
    )


def _attend_plainly(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    softcap: float | None,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    """Step by step, for models that bend the scores (Gemma 2's cap, gpt-oss's sinks)."""
    repeat = query.shape[1] // keys.shape[1]
    keys, values = keys.repeat_interleave(repeat, 1), values.repeat_interleave(repeat, 1)
    scores = query @ keys.transpose(2, 3) * (scaling if scaling is not None else query.shape[-1] ** -0.5)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    if sinks is None:
        return scores.float().softmax(-1).to(query.dtype) @ values
    sink = sinks.reshape(1, -1, 1, 1).expand(1, -1, scores.shape[2], 1).to(scores.dtype)
    weights = torch.cat([scores, sink], -1).float().softmax(-1)[..., :-1]
    return weights.to(query.dtype) @ values


AttentionInterface.register(NAME, attend)
