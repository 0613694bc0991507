"""The built-in model as plain torch functions: a Llama (grouped queries, RoPE, SwiGLU) with tied embeddings.

Parameters are a dictionary with the GGUF file's tensor names. Q and K rows are in Hugging Face's order: a
head's two halves rotate against each other. `rope_order.py` turns them into llama.cpp's.
"""

from __future__ import annotations

import math

import torch  # type: ignore[import-not-found, unused-ignore]
import torch.nn.functional as F  # type: ignore[import-not-found, unused-ignore]

from demo_model.llama_gguf import LlamaShape

Parameters = dict[str, torch.Tensor]

INITIAL_SCALE = 0.02


def initial_parameters(shape: LlamaShape, seed: int) -> Parameters:
    """Random float32 parameters at GPT-2's scale; what writes into the residual stream shrinks with depth."""
    generator = torch.Generator().manual_seed(seed)
    parameters: Parameters = {}
    for name, size in shape.tensors():
        if len(size) == 1:
            parameters[name] = torch.ones(size)
            continue
        writes = name.endswith(("attn_output.weight", "ffn_down.weight"))
        scale = INITIAL_SCALE / math.sqrt(2 * shape.layers) if writes else INITIAL_SCALE
        parameters[name] = torch.randn(size, generator=generator) * scale
    return {name: weights.requires_grad_() for name, weights in parameters.items()}


def rope_tables(shape: LlamaShape, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [length, head / 2] of the rotary embedding (Su et al. 2021, RoFormer)."""
    exponents = torch.arange(0, shape.head, 2, dtype=torch.float32) / shape.head
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_base**-exponents)
    return angles.cos(), angles.sin()


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _normalize(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    return F.rms_norm(x, x.shape[-1:], weight, epsilon)


def _attention(
    p: Parameters, block: str, shape: LlamaShape, x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    rows, length, _ = x.shape

    def heads(name: str, count: int) -> torch.Tensor:
        projected = F.linear(x, p[f"{block}{name}.weight"])
        return projected.view(rows, length, count, shape.head).transpose(1, 2)

    q = _rotate(heads("attn_q", shape.heads), *rope)
    k = _rotate(heads("attn_k", shape.kv_heads), *rope)
    v = heads("attn_v", shape.kv_heads)
    share = shape.heads // shape.kv_heads
    k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return F.linear(mixed.transpose(1, 2).reshape(x.shape), p[f"{block}attn_output.weight"])


def _feed_forward(p: Parameters, block: str, x: torch.Tensor) -> torch.Tensor:
    gate = F.silu(F.linear(x, p[f"{block}ffn_gate.weight"]))
    return F.linear(gate * F.linear(x, p[f"{block}ffn_up.weight"]), p[f"{block}ffn_down.weight"])


def hidden_states(
    p: Parameters, shape: LlamaShape, tokens: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Final normalized states [rows, length, embedding] of `tokens` [rows, length]."""
    length = tokens.shape[1]
    rope = (rope[0][:length], rope[1][:length])
    x = F.embedding(tokens, p["token_embd.weight"])
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        normal = _normalize(x, p[f"{block}attn_norm.weight"], shape.norm_epsilon)
        x = x + _attention(p, block, shape, normal, rope)
        normal = _normalize(x, p[f"{block}ffn_norm.weight"], shape.norm_epsilon)
        x = x + _feed_forward(p, block, normal)
    return _normalize(x, p["output_norm.weight"], shape.norm_epsilon)


def scores(p: Parameters, states: torch.Tensor) -> torch.Tensor:
    """Logits over the vocabulary; the output matrix is the embedding's."""
    return F.linear(states, p["token_embd.weight"])
