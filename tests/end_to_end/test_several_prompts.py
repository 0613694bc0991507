"""`generate` for several prompts on a model of GPT-2's architecture: computed together, answered in order."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from native_host.client.session import Answer, Piece

from .raw_peer import RawPeer

DERIVE = Path(__file__).parents[2] / "scripts" / "derive_demo_model.py"
PROMPTS = [
    "What is a worker?",
    "Hello",
    "one two three four five six",
    "日本語",
    "A frame",
    "The end of it all",
]
TOKENS = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DistilGPT2's shape made narrow, of random weights, with the built-in model's tokenizer."""
    source = tmp_path_factory.mktemp("demo")
    subprocess.run([sys.executable, DERIVE, "--to", "safetensors", source], check=True)
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(source)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(3)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=256, n_embd=96, n_layer=6, n_head=12, initializer_range=0.2
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def models_file(folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "models.json"
    entry = {"path": str(folder), "format": "safetensors", "parallel": len(PROMPTS), "threads": 1}
    file.write_text(json.dumps({"models": {"gpt2": entry}}))
    return file


def by_plain_transformers(model: GPT2LMHeadModel, folder: Path, prompt: str) -> list[int]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    given = tokenizer(prompt, return_tensors="pt")["input_ids"]
    made = model.generate(given, max_new_tokens=TOKENS, do_sample=False, eos_token_id=None, pad_token_id=0)
    tokens: list[int] = made[0, given.shape[1] :].tolist()
    return tokens


def test_they_are_computed_together_and_answered_in_order(folder: Path, daemon: Path) -> None:
    params: dict[str, object] = {
        "model": "gpt2", "prompts": PROMPTS, "max_tokens": TOKENS, "temperature": 0.0, "ignore_eos": True,
        "logprobs": 0, "stream": True,
    }  # fmt: skip
    with RawPeer(daemon) as peer:
        asked = set(peer.ask(("generate", params)))
        *events, answer = peer.read_until(asked)
    assert isinstance(answer, Answer)
    pieces = [event for event in events if isinstance(event, Piece)]
    result = json.loads(answer.result)
    tokens: list[list[int]] = [[] for _ in PROMPTS]
    texts = [""] * len(PROMPTS)
    ends: list[int] = []
    for at, piece in enumerate(pieces):
        assert piece.index is not None
        texts[piece.index] += piece.text
        tokens[piece.index] += [token.token for token in piece.logprobs or []]
        if len(tokens[piece.index]) == TOKENS:
            ends.append(at)
    assert [text["text"] for text in result["texts"]] == texts
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
    assert tokens == [by_plain_transformers(model, folder, prompt) for prompt in PROMPTS]
    # All had begun before the first was done.
    assert {piece.index for piece in pieces[: ends[0]]} == set(range(len(PROMPTS)))
