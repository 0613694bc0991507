"""Steps of a graph whose attention writes keys and values in place (GroupQueryAttention): nothing is copied.

All sequences lie in one buffer a tensor, a row each, as long as the longest sequence may be. The system gives
a row memory as it is written. A batch is the buffer's first rows, whichever sequences these belong to; a row
that is needed there changes places with one that is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from native_host.workers.backends.batching import Span
from native_host.workers.backends.onnx.signature import Signature

Floats = npt.NDArray[np.float32]


class SharedCacheForward:
    """A `Forward` on the CPU."""

    def __init__(
        self, session: ort.InferenceSession, signature: Signature, parallel: int, longest: int
    ) -> None:
        self._session = session
        self._signature = signature
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}
        self._buffers = [
            np.zeros((parallel, each.heads, longest, each.head), each.dtype) for each in signature.cache
        ]
        self._row_of = list(range(parallel))
        self._lengths = [0] * parallel

    def decode(self, spans: list[Span]) -> bytes:
        """As `Forward` says: all single tokens in one run, longer spans one by one."""
        single = [span for span in spans if len(span[2]) == 1]
        rows: dict[int, Floats] = {}
        if len(single) > 1:
            self._gather([sequence for sequence, *_ in single])
            single.sort(key=lambda span: self._row_of[span[0]])
            logits = self._run(0, [span[2] for span in single], [span[1] for span in single])
            rows = {span[0]: logits[index, -1:] for index, span in enumerate(single)}
        wanted = []
        for sequence, start, tokens, outputs in spans:
            if sequence not in rows:
                rows[sequence] = self._alone(sequence, start, tokens, outputs)
            wanted.append(rows[sequence][len(rows[sequence]) - outputs :].tobytes())
        return b"".join(wanted)

    def cut(self, sequence: int, length: int) -> None:
        """What is cut is written over."""
        row = self._row_of[sequence]
        self._lengths[row] = min(self._lengths[row], length)

    def _gather(self, sequences: list[int]) -> None:
        """Bring these sequences into the first rows."""
        taken = {self._row_of[sequence] for sequence in sequences}
        free = iter(row for row in range(len(sequences)) if row not in taken)
        for sequence in sequences:
            if self._row_of[sequence] >= len(sequences):
                self._swap(self._row_of[sequence], next(free))

    def _swap(self, one: int, other: int) -> None:
        length = max(self._lengths[one], self._lengths[other])
        for buffer in self._buffers:
            part = buffer[[one, other], :, :length]
            buffer[[other, one], :, :length] = part
        self._lengths[one], self._lengths[other] = self._lengths[other], self._lengths[one]
        first, second = self._row_of.index(one), self._row_of.index(other)
        self._row_of[first], self._row_of[second] = other, one

    def _alone(self, sequence: int, start: int, tokens: list[int], outputs: int) -> Floats:
        """The logits after the last `outputs` tokens of one span, which is run in one piece where that gives
        them all."""
        row = self._row_of[sequence]
        if not self._signature.last_only:
            whole: Floats = self._run(row, [tokens], [start])[0]
            return whole
        cut = len(tokens) - max(outputs - 1, 0)
        logits = [self._run(row, [tokens[:cut]], [start])[0]] if cut else []
        for index in range(cut, len(tokens)):
            logits.append(self._run(row, [tokens[index : index + 1]], [start + index])[0])
        joined: Floats = np.concatenate(logits)
        return joined

    def _run(self, first_row: int, tokens: list[list[int]], starts: list[int]) -> Floats:
        """Compute equally many tokens for each row from `first_row` on; [rows, tokens, vocabulary]."""
        count, rows = len(tokens[0]), len(tokens)
        ends = [start + count for start in starts]
        mask = np.arange(max(ends))[None, :] < np.array(ends)[:, None]
        given: dict[str, npt.NDArray[Any]] = {
            "input_ids": np.array(tokens, np.int64),
            "attention_mask": mask.astype(np.int64),
            "position_ids": np.array(starts)[:, None] + np.arange(count)[None, :],
        }
        binding = self._binding(first_row, rows)
        for kind, name in self._signature.tokens.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(given[kind]))
        logits = self._logits(binding, rows, count)
        self._session.run_with_iobinding(binding)
        for row, end in enumerate(ends, first_row):
            self._lengths[row] = end
        values: Floats = logits.astype(np.float32, copy=False)
        return values

    def _logits(self, binding: ort.IOBinding, rows: int, count: int) -> npt.NDArray[Any]:
        """Where the next run writes its logits: asking for outputs afterwards wraps all of the cache anew."""
        signature = self._signature
        shape = (rows, 1 if signature.last_only else count, signature.vocabulary)
        logits = np.empty(shape, signature.logits_dtype)
        binding.bind_output(signature.logits, "cpu", 0, signature.logits_dtype, shape, logits.ctypes.data)
        return logits

    def _binding(self, first_row: int, rows: int) -> ort.IOBinding:
        """A binding whose cache is bound to these rows: they lie where they lie, so it is made once."""
        if (first_row, rows) not in self._bindings:
            binding = self._session.io_binding()
            for tensor, buffer in zip(self._signature.cache, self._buffers, strict=True):
                part = buffer[first_row : first_row + rows]
                place = ("cpu", 0, tensor.dtype, part.shape, part.ctypes.data)
                binding.bind_input(tensor.past, *place)
                binding.bind_output(tensor.present, *place)
            self._bindings[first_row, rows] = binding
        return self._bindings[first_row, rows]
