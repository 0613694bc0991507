"""Foresees the memory of a language model in SafeTensors from its config.json, without torch.

What a worker does is known: on a CPU, float16 weights become float32, and bfloat16 ones too where the CPU
does not compute with them; quantizing leaves the tables of tokens as they are; a step has at most so many
tokens.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from native_host.workers.messages import LoadOptions

STEP_TOKENS = 512
LONGEST_CONTEXT = 8192
PARALLEL = 8
"""As the batching loop has them where `models.json` says nothing (workers/backends/batching.py)."""
_STORED = {"float32": 4, "float16": 2, "bfloat16": 2}
_ASKED = {"f32": 4, "f16": 2, "bf16": 2}
_QUANTIZED = {"4bit": 0.5625, "8bit": 1.02}
"""Bytes of a quantized weight with its part of the scales: a float32 for each 64 of 4 bits, and for each row
of 8."""


class FolderMemory(msgspec.Struct, frozen=True):
    """Bytes; `kv` is of one sequence of full length."""

    weights: int
    kv: int
    compute: int


def foresee(folder: Path, options: LoadOptions) -> FolderMemory | None:
    """`None` for what is no language model with the usual keys."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        stored = _STORED[str(config.get("dtype") or config.get("torch_dtype") or "float32")]
        hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        heads, inner = int(config["num_attention_heads"]), int(config["intermediate_size"])
        vocabulary = int(config["vocab_size"])
        positions = int(config["max_position_embeddings"])
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not any(str(name).endswith("ForCausalLM") for name in config.get("architectures") or []):
        return None
    head = int(config.get("head_dim") or hidden // heads)
    kv_heads = int(config.get("num_key_value_heads") or heads)
    width = _computed_width(config, stored, options)
    tables = vocabulary * hidden * (1 if config.get("tie_word_embeddings") else 2)
    weights = size // stored
    each = _QUANTIZED.get((options.quantization or "").lower())
    longest = options.context_length or min(positions, LONGEST_CONTEXT)
    return FolderMemory(
        weights=int(weights * width if each is None else tables * width + max(weights - tables, 0) * each),
        kv=2 * layers * kv_heads * head * width * longest,
        # Of a layer: its input, the projections of attention, the two halves of the middle and their product.
        compute=STEP_TOKENS * width * (4 * hidden + 2 * heads * head + 2 * kv_heads * head + 3 * inner)
        + 2 * 4 * (options.parallel or PARALLEL) * vocabulary,
    )


def _computed_width(config: dict[str, Any], stored: int, options: LoadOptions) -> int:
    """Bytes of a number that is not quantized."""
    asked = _ASKED.get((options.quantization or "").lower())
    if asked is not None:
        return asked
    if options.device not in (None, "auto", "cpu"):
        return stored
    if str(config.get("dtype") or config.get("torch_dtype")) == "bfloat16" and _has_bfloat16():
        return 2
    return 4


def _has_bfloat16() -> bool:
    try:
        import tabagent_model  # native code: not before a model is loaded
    except ImportError:
        return False
    return "avx512bf16" in tabagent_model.get_cpu_info()["features"]
