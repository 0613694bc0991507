"""Writes a LoRA adapter to a Llama as GGUF, from its matrices as peft names and orders them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from demo_model.rope_order import to_neighbours
from native_host.workers.derived.safetensors import BLOCK_NAMES

Floats = npt.NDArray[np.float32]

PREFIX = "base_model.model."
PARTS = {theirs: ours for ours, theirs in BLOCK_NAMES.items()}


def write_lora(
    path: Path, matrices: Mapping[str, Floats], *, alpha: float, heads: int, kv_heads: int
) -> None:
    """`matrices` are those of `adapter_model.safetensors`, by their names there: A is [rank, inputs], B
    [outputs, rank]. The update is alpha / rank times B A. `heads` and `kv_heads` are the model's, whose Q and
    K have their rows in another order here. Raises KeyError for what is not in a Llama's blocks.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, alpha)
    grouped = {"attn_q": heads, "attn_k": kv_heads}
    for name, matrix in matrices.items():
        _, _, layer, *part, factor, _ = name.removeprefix(PREFIX).split(".")
        ours = PARTS[".".join(part)]
        if factor == "lora_B" and ours in grouped:
            matrix = to_neighbours(matrix, grouped[ours])
        tensor = np.ascontiguousarray(matrix, dtype=np.float32)
        writer.add_tensor(f"blk.{layer}.{ours}.weight.{factor.lower()}", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
