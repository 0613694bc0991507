"""The built-in model as an ONNX folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def derived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The derived folder; tests do not change it."""
    folder = tmp_path_factory.mktemp("derived") / "model"
    script = ROOT / "scripts" / "derive_demo_model.py"
    subprocess.run([sys.executable, script, "--to", "onnx", folder], check=True)
    return folder


@pytest.fixture
def folder(derived: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    return Path(shutil.copytree(derived, tmp_path / "model"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2 of random weights as torch exports it: its graph answers with its whole cache anew."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from native_host.models.convert.child import torch_export
    from native_host.models.convert.child.checkpoint import Checkpoint
    from native_host.workers.backends.onnx.storage import save

    root = tmp_path_factory.mktemp("exported")
    config = Qwen2Config(
        vocab_size=1024,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
    )
    torch.manual_seed(1)
    Qwen2ForCausalLM(config).save_pretrained(root / "source")
    checkpoint = Checkpoint(root / "source")
    (root / "graph").mkdir()
    graph = torch_export.export(checkpoint, torch_export.load(checkpoint))
    save(graph, root / "graph" / "model.onnx")
    return root / "graph"
