"""One step of a causal language model for the batching loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedModel

from native_host.workers.backends.batching import Span
from native_host.workers.backends.transformers.attention import Part, SequenceCache

if TYPE_CHECKING:
    from native_host.workers.backends.transformers.adapters import Adapters

_ALONE = frozenset({"dynamic", "longrope"})
"""Rotary embeddings that look at the longest position of a batch: requests are computed one by one, lest one
change another's."""


class TorchForward:
    """A `Forward` over a transformers model that was loaded with our attention."""

    def __init__(
        self,
        model: PreTrainedModel,
        device: torch.device,
        longest: int,
        kv_dtype: torch.dtype | None,
        adapters: Adapters | None,
    ) -> None:
        self._model = model
        self._adapters = adapters
        self._device = device
        self._longest = longest
        self._kv_dtype = kv_dtype
        self._caches: dict[int, SequenceCache] = {}
        rope = getattr(model.config, "rope_parameters", None) or {}
        self._alone = rope.get("rope_type") in _ALONE

    def decode(self, spans: list[Span]) -> bytes:
        """As `Forward` says."""
        with torch.inference_mode():
            groups = [[span] for span in spans] if self._alone else [spans]
            return b"".join(self._compute(group) for group in groups)

    def _compute(self, spans: list[Span]) -> bytes:
        tokens: list[int] = []
        positions: list[int] = []
        wanted: list[int] = []
        parts = []
        for sequence, start, new, outputs in spans:
            begin, end = len(tokens), len(tokens) + len(new)
            tokens += new
            positions += range(start, start + len(new))
            wanted += range(end - outputs, end)
            parts.append(Part(self._cache(sequence), start, begin, end))
        output = self._model(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=torch.tensor([positions], device=self._device),
            logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=self._device),
            use_cache=False,
            step_parts=parts,
        )
        return output.logits[0].float().cpu().contiguous().numpy().tobytes() if wanted else b""

    def _cache(self, sequence: int) -> SequenceCache:
        if sequence not in self._caches:
            self._caches[sequence] = SequenceCache(self._longest, self._kv_dtype)
        return self._caches[sequence]

    def use_adapters(self, adapters: list[tuple[str, float]]) -> None:
        """As `AdaptableForward` says."""
        if self._adapters is not None:
            self._adapters.use(adapters)

    def cut(self, sequence: int, length: int) -> None:
        """As `Forward` says. What is cut in its middle is written over; what is empty is freed."""
        if length == 0:
            self._caches.pop(sequence, None)
