"""SafeTensors to ONNX: export, compare with the source, store."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path

import onnx
from transformers import PreTrainedModel

from native_host.models.convert.child import onnx_check, torch_export
from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.request import ConvertRequest
from native_host.workers.backends.onnx.llama_graph import UnknownShapeError, genai_config, llama_graph
from native_host.workers.backends.onnx.storage import save, stored_as

GRAPH = "model.onnx"


def convert_to_onnx(
    checkpoint: Checkpoint, request: ConvertRequest, step: Callable[[str, float], None]
) -> dict[str, object]:
    """Fill the folder `request.result`; says what was made. Raises RpcError."""
    folder = Path(request.staging) / request.result
    folder.mkdir()
    model = torch_export.load(checkpoint)
    expected = onnx_check.expected_outputs(checkpoint, model)
    step("Exporting the graph", 0.1)
    graph, shared = _graph(checkpoint, model)
    del model
    gc.collect()
    step(f"Writing {request.quantize} weights", 0.6)
    save(stored_as(graph, request.quantize), folder / GRAPH)
    del graph
    gc.collect()
    checkpoint.copy_companions(folder)
    if shared:
        settings = genai_config(checkpoint.config, GRAPH)
        (folder / "genai_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    step("Comparing with the source", 0.8)
    difference = onnx_check.compare(folder / GRAPH, expected, request.quantize)
    return {
        "kind": checkpoint.kind,
        "quantization": request.quantize,
        "shared_cache": shared,
        "difference": difference,
    }


def _graph(checkpoint: Checkpoint, model: PreTrainedModel) -> tuple[onnx.ModelProto, bool]:
    """The graph, and whether its cache is shared between steps: for plain Llamas a graph made for that, for
    everything else what torch exports.
    """
    if checkpoint.kind == "generate":
        try:
            weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
            return llama_graph(checkpoint.config, weights), True
        except UnknownShapeError:
            pass
    return torch_export.export(checkpoint, model), False
