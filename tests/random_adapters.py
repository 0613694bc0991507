"""LoRA adapters of random matrices to the built-in model: the same one as peft and as llama.cpp have it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from demo_model.lora_gguf import write_lora
from safetensors.numpy import save_file

Floats = npt.NDArray[np.float32]

LAYERS, HEADS, KV_HEADS = 4, 4, 2
RANK, ALPHA = 4, 8.0
SHAPES = {
    "self_attn.q_proj": (256, 256),
    "self_attn.k_proj": (128, 256),
    "self_attn.v_proj": (128, 256),
    "self_attn.o_proj": (256, 256),
    "mlp.gate_proj": (640, 256),
    "mlp.up_proj": (640, 256),
    "mlp.down_proj": (256, 640),
}
"""Outputs and inputs."""


def matrices(seed: int, size: float = 0.15) -> dict[str, Floats]:
    """Both factors for every matrix of every layer."""
    rng = np.random.default_rng(seed)
    made = {}
    for layer in range(LAYERS):
        for part, (outputs, inputs) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{part}"
            for factor, shape in (("lora_A", (RANK, inputs)), ("lora_B", (outputs, RANK))):
                made[f"{name}.{factor}.weight"] = rng.normal(0, size, shape).astype(np.float32)
    return made


def write_gguf(path: Path, seed: int) -> Path:
    """The adapter as a GGUF file."""
    write_lora(path, matrices(seed), alpha=ALPHA, heads=HEADS, kv_heads=KV_HEADS)
    return path


def write_folder(folder: Path, seed: int) -> Path:
    """The adapter as a folder that peft could have written."""
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "target_modules": [part.rpartition(".")[2] for part in SHAPES],
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    save_file(matrices(seed), folder / "adapter_model.safetensors")
    return folder
