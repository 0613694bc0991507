"""Steps of a graph that answers with its whole cache anew: past and new keys and values in one tensor.

Sequences that are decoded together keep their cache together, on the device, as the graph answered it: bound
as the next step's past it is not copied by us. Only when the company changes are its parts cut out and joined
anew. Shorter sequences are padded at their beginning, which the mask hides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from native_host.workers.backends.batching import Span
from native_host.workers.backends.onnx.signature import Signature

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


class _Company:
    """Sequences whose caches are rows of the same tensors, right-aligned."""

    def __init__(self, sequences: list[int], lengths: list[int], tensors: list[ort.OrtValue]) -> None:
        self.sequences = sequences
        self.lengths = lengths
        self.tensors = tensors

    @property
    def size(self) -> int:
        """The tensors' length: that of the longest sequence."""
        return max(self.lengths)


class CopiedCacheForward:
    """A `Forward` on any device."""

    def __init__(self, session: ort.InferenceSession, signature: Signature, device: str) -> None:
        self._session = session
        self._signature = signature
        self._device = device
        self._binding = session.io_binding()
        self._companies: dict[int, _Company] = {}

    def decode(self, spans: list[Span]) -> bytes:
        """As `Forward` says: all single tokens in one run, longer spans one by one."""
        single = sorted(span for span in spans if len(span[2]) == 1)
        rows: dict[int, Floats] = {}
        if len(single) > 1:
            logits = self._run(single)
            rows = {span[0]: logits[index, -1:] for index, span in enumerate(single)}
        wanted = []
        for span in spans:
            sequence, outputs = span[0], span[3]
            if sequence not in rows:
                rows[sequence] = self._alone(span)
            wanted.append(rows[sequence][len(rows[sequence]) - outputs :].tobytes())
        return b"".join(wanted)

    def cut(self, sequence: int, length: int) -> None:
        """What is cut in its middle is left out when it is next used; what is empty is freed with its
        company."""
        if length == 0:
            self._companies.pop(sequence, None)

    def _alone(self, span: Span) -> Floats:
        """The logits after the last tokens of one span, run in one piece where that gives them all."""
        sequence, start, tokens, outputs = span
        if not self._signature.last_only or outputs <= 1:
            whole: Floats = self._run([span])[0]
            return whole
        cut = len(tokens) - outputs + 1
        pieces = [tokens[:cut], *([token] for token in tokens[cut:])] if cut else [[t] for t in tokens]
        logits = []
        for piece in pieces:
            logits.append(self._run([(sequence, start, piece, 1)])[0])
            start += len(piece)
        joined: Floats = np.concatenate(logits)
        return joined

    def _run(self, spans: list[Span]) -> Floats:
        """Compute equally many tokens for each sequence; [rows, tokens, vocabulary]."""
        company = self._together(spans)
        count = len(spans[0][2])
        starts = np.array(company.lengths)[:, None]
        # Kept positions are at the right end of the past; the new ones follow.
        mask = np.arange(company.size + count)[None, :] >= company.size - starts
        given: dict[str, Array] = {
            "input_ids": np.array([span[2] for span in spans], np.int64),
            "attention_mask": mask.astype(np.int64),
            "position_ids": starts + np.arange(count)[None, :],
        }
        binding = self._binding
        binding.clear_binding_inputs()
        binding.clear_binding_outputs()
        for kind, name in self._signature.tokens.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(given[kind]))
        for tensor, past in zip(self._signature.cache, company.tensors, strict=True):
            binding.bind_ortvalue_input(tensor.past, past)
            binding.bind_output(tensor.present, self._device)
        binding.bind_output(self._signature.logits, "cpu")
        self._session.run_with_iobinding(binding)
        *present, logits = binding.get_outputs()
        kept = _Company(company.sequences, [length + count for length in company.lengths], present)
        for sequence in company.sequences:
            self._companies[sequence] = kept
        values: Floats = logits.numpy().astype(np.float32, copy=False)
        return values

    def _together(self, spans: list[Span]) -> _Company:
        """The company of these sequences in this order, each cut to where its span begins."""
        sequences, starts = [span[0] for span in spans], [span[1] for span in spans]
        known = self._companies.get(sequences[0])
        if known is not None and (known.sequences, known.lengths) == (sequences, starts):
            return known
        tensors = [self._joined(index, sequences, starts) for index in range(len(self._signature.cache))]
        return _Company(sequences, starts, tensors)

    def _joined(self, index: int, sequences: list[int], starts: list[int]) -> ort.OrtValue:
        tensor = self._signature.cache[index]
        joined = np.zeros((len(sequences), tensor.heads, max(starts), tensor.head), tensor.dtype)
        for row, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
            if start:
                company = self._companies[sequence]
                old = company.sequences.index(sequence)
                begin = company.size - company.lengths[old]
                kept = company.tensors[index].numpy()[old, :, begin : begin + start]
                joined[row, :, joined.shape[2] - start :] = kept
        return ort.OrtValue.ortvalue_from_numpy(joined, self._device, 0)
