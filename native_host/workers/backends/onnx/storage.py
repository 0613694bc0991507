"""How an ONNX graph's weights are stored: smaller types, and a file of their own for large models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INLINE_LIMIT_BYTES = 1 << 30
"""Graphs with more weights than this keep them in a file beside them: one protobuf message ends at 2 GiB."""
_SMALLEST_BYTES = 1024
"""Smaller tensors stay as they are, inside the graph: norms and constants."""
_BLOCK = 32
_READERS = frozenset({"MatMul", "Gemm", "Gather", "Transpose"})


def stored_as(model: onnx.ModelProto, quantization: str) -> onnx.ModelProto:
    """The graph with its float32 weights stored as `quantization`: `F32`, `F16`, `INT8` or `INT4`."""
    if quantization == "F16":
        return _in_halves(model)
    if quantization in ("INT8", "INT4"):
        return _in_blocks(model, 8 if quantization == "INT8" else 4)
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Write the graph to `path`, and large weights to `path` + `.data`."""
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    if weights <= INLINE_LIMIT_BYTES:
        onnx.save_model(model, path)
        return
    onnx.save_model(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=f"{path.name}.data",
        size_threshold=_SMALLEST_BYTES,
    )


def _in_halves(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights as float16, cast to float32 when the graph is loaded: computing stays what it was.

    Only what is multiplied or looked up counts as weights: tables of angles, say, keep all their digits.
    """
    weights = {name for node in model.graph.node if node.op_type in _READERS for name in node.input}
    kept: list[TensorProto] = []
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        small = tensor.data_type != TensorProto.FLOAT or len(tensor.raw_data) < _SMALLEST_BYTES
        if small or tensor.name not in weights:
            kept.append(tensor)
            continue
        half = numpy_helper.to_array(tensor).astype(np.float16)
        kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    return model


def _in_blocks(model: onnx.ModelProto, bits: int) -> onnx.ModelProto:
    """Matrices as integers with a scale for each block of 32, multiplied by onnxruntime's MatMulNBits."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(model, bits=bits, block_size=_BLOCK, is_symmetric=True)
    quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
