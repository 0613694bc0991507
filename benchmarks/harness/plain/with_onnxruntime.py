"""A greedy loop over a graph with GroupQueryAttention: keys and values are bound once, in place, by IO
binding.

    python -m harness.plain.with_onnxruntime FOLDER THREADS
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort

from harness.plain.serving import serve

CONTEXT = 2048


def main() -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[2])
    graph = str(Path(sys.argv[1]) / "model.onnx")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    kept = []
    for given in session.get_inputs():
        if given.name.startswith("past_key_values."):
            buffer = np.zeros((1, given.shape[1], CONTEXT, given.shape[3]), np.float32)
            present = given.name.replace("past_key_values.", "present.")
            binding.bind_input(given.name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
            binding.bind_output(present, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)
            kept.append(buffer)
    binding.bind_output("logits", "cpu")

    def step(tokens: list[int], length: int) -> int:
        binding.bind_cpu_input("input_ids", np.array([tokens], np.int64))
        binding.bind_cpu_input("attention_mask", np.ones((1, length), np.int64))
        session.run_with_iobinding(binding)
        return int(binding.get_outputs()[-1].numpy()[0, -1].argmax())

    def decode(prompt: list[int], count: int, tell: Callable[[], None]) -> None:
        new, length = prompt, len(prompt)
        for _ in range(count):
            new = [step(new, length)]
            length += 1
            tell()

    serve(decode)


if __name__ == "__main__":
    main()
