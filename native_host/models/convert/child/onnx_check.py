"""Whether an exported graph is sound and computes what its source computes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from transformers import PreTrainedModel

from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.child.torch_export import encoder_inputs
from native_host.models.convert.request import failed

Floats = npt.NDArray[np.float32]
Tokens = npt.NDArray[np.int64]

_ROWS, _PROMPT = 2, 7
# Largest difference from the source, as a part of the source's largest value. Quantized weights compute
# something else by intention: there the answers must only point the same way.
_TOLERANCES = {"F32": 1e-3, "F16": 2e-2}
_LEAST_COSINES = {"INT8": 0.98, "INT4": 0.6}


class Expected(msgspec.Struct, frozen=True):
    """What the source computes for some tokens, [rows, tokens]: the values that the graph must give."""

    tokens: Tokens
    values: Floats
    inputs: list[str]
    cached: bool


def expected_outputs(checkpoint: Checkpoint, model: PreTrainedModel) -> Expected:
    """Ask the source: the last token's logits for a causal model, all first outputs for another."""
    tokens = np.random.default_rng(1).integers(0, model.config.vocab_size, (_ROWS, _PROMPT + 1))
    cached = checkpoint.kind == "generate"
    with torch.no_grad():
        given = {"input_ids": torch.from_numpy(tokens), "attention_mask": torch.ones(tokens.shape)}
        output = model(**given)[0].numpy()
    names = [] if cached else encoder_inputs(checkpoint)
    return Expected(tokens, output[:, -1:] if cached else output, names, cached)


def compare(path: Path, expected: Expected, quantization: str) -> float:
    """Check the file and run it; answers the largest difference, as a part of the source's largest value.

    Raises RpcError where it is too large.
    """
    onnx.checker.check_model(path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = _cached_step(session, expected.tokens) if expected.cached else _plain(session, expected)
    difference = float(np.abs(values - expected.values).max() / np.abs(expected.values).max())
    least = _LEAST_COSINES.get(quantization)
    if least is not None:
        sound = _least_cosine(values, expected.values) >= least
    else:
        sound = difference <= _TOLERANCES[quantization]
    if not sound:
        raise failed(str(path.parent), f"the graph differs from its source by {difference:.2%}")
    return difference


def _least_cosine(values: Floats, expected: Floats) -> float:
    products = (values * expected).sum(-1)
    lengths = np.linalg.norm(values, axis=-1) * np.linalg.norm(expected, axis=-1)
    return float((products / lengths).min())


def _plain(session: ort.InferenceSession, expected: Expected) -> Floats:
    shape = expected.tokens.shape
    given = {
        "input_ids": expected.tokens,
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    values: Floats = session.run(None, {name: given[name] for name in expected.inputs})[0]
    return values


def _cached_step(session: ort.InferenceSession, tokens: Tokens) -> Floats:
    """The last token's logits, computed from the cache of all tokens before it."""
    past = {
        each.name: np.zeros((_ROWS, each.shape[1], 0, each.shape[3]), np.float32)
        for each in session.get_inputs()
        if each.name.startswith("past_key_values.")
    }
    outputs = _run(session, tokens[:, :_PROMPT], 0, past)
    past = {name: outputs[name.replace("past_key_values", "present")] for name in past}
    return _run(session, tokens[:, _PROMPT:], _PROMPT, past)["logits"][:, -1:]


def _run(
    session: ort.InferenceSession, tokens: Tokens, past_length: int, past: dict[str, Floats]
) -> dict[str, Floats]:
    rows, count = tokens.shape
    total = past_length + count
    positions = np.broadcast_to(np.arange(past_length, total), (rows, count))
    given = {
        "input_ids": tokens,
        "attention_mask": np.ones((rows, total), np.int64),
        "position_ids": np.ascontiguousarray(positions),
        **past,
    }
    wanted = {each.name for each in session.get_inputs()}
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, {name: value for name, value in given.items() if name in wanted})
    return dict(zip(names, values, strict=True))
