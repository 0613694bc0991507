"""A Llama-architecture GGUF file as an ONNX folder, weight for weight. It needs onnx beside what the Hugging
Face folder needs.
"""

from __future__ import annotations

from pathlib import Path

from native_host.workers.backends.onnx.files import GENAI_CONFIG
from native_host.workers.backends.onnx.llama_graph import genai_config, llama_graph
from native_host.workers.backends.onnx.storage import save, stored_as
from native_host.workers.derived.safetensors import (
    Numbers,
    Source,
    config,
    derive_tensors,
    write_companions,
    write_json,
)

GRAPH = "model.onnx"


def derive_onnx(source: Source, folder: Path, numbers: Numbers = "f16") -> None:
    """Write the folder. Weights are stored as `numbers`, and computed with in F32 either way."""
    write_companions(source, folder, "f16")
    described = config(source, "f16")
    graph = llama_graph(described, derive_tensors(source))
    save(stored_as(graph, numbers.upper()), folder / GRAPH)
    write_json(folder / GENAI_CONFIG, genai_config(described, GRAPH))
