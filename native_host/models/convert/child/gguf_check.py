"""Whether a GGUF file that was made of a SafeTensors folder answers as its source does."""

from __future__ import annotations

import select
from pathlib import Path

import numpy as np
import tabagent_model
import torch

from native_host.models.convert.child import torch_export
from native_host.models.convert.child.checkpoint import Checkpoint
from native_host.models.convert.request import failed

_PROMPT, _TOP = 12, 20
# Largest difference of a candidate's log-probability. Smaller types compute something else by intention.
_TOLERANCES = {"F32": 0.02, "F16": 0.1, "BF16": 0.5, "Q8_0": 0.5}


def compare(checkpoint: Checkpoint, path: Path, quantization: str) -> float | None:
    """The largest difference between the log-probabilities of the likeliest next tokens, in the file and in
    its source; `None` for models without any. Raises RpcError where it is too large.
    """
    if checkpoint.kind != "generate":
        return None
    tokens = _prompt(checkpoint)
    found = _candidates(path, tokens)
    model = torch_export.load(checkpoint)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        expected = torch.log_softmax(logits, dim=-1)
    difference = max(abs(logprob - float(expected[token])) for token, logprob in found.items())
    if not difference <= _TOLERANCES.get(quantization, float("inf")):
        raise failed(
            str(checkpoint.folder), f"log-probabilities differ from the source's by {difference:.3f}"
        )
    return difference


def _prompt(checkpoint: Checkpoint) -> list[int]:
    tokens: list[int] = (
        np.random.default_rng(1).integers(0, checkpoint.config["vocab_size"], _PROMPT).tolist()
    )
    return tokens


def _candidates(path: Path, tokens: list[int]) -> dict[int, float]:
    """The likeliest tokens after `tokens`, and their log-probabilities."""
    engine = tabagent_model.Engine(
        str(path), context_length=64, parallel=1, kv_type="f32", flash_attention="off"
    )
    try:
        engine.submit(tokens, max_tokens=1, temperature=0.0, logprobs=_TOP, ignore_eos=True)
        while True:
            select.select([engine.fileno()], [], [])
            for event in engine.drain():
                if event["type"] == "piece" and event["tokens"]:
                    token = event["tokens"][0]
                    return {each["token"]: each["logprob"] for each in token["top"]}
                if event["type"] in ("failed", "finished"):
                    raise failed(str(path), "it computes nothing")
    finally:
        engine.close()
