"""The one changed file of llama.cpp: made of the file that the change is for, and of no other."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from runtime_build import patching, source
from runtime_build.failure import BuildFailure

ROOT = Path(__file__).resolve().parents[2]
SHIM = ROOT / "rust" / "llama" / "shim"
OPS = Path("ggml", "src", "ggml-cpu", "ops.cpp")


def test_the_change_is_in_and_nothing_else_is_changed() -> None:
    before = (source.fetch() / OPS).read_text(encoding="utf-8").splitlines()
    after = patching.patched_ops(source.fetch(), SHIM).decode().splitlines()
    added = (SHIM / patching.ADDITION).read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in Counter(before) - Counter(after)] == [
        "ggml_compute_forward_flash_attn_ext_tiled(params, dst, ir0, ir1);"
    ]
    ours = Counter(after) - Counter(before) - Counter(added)
    assert len(ours) == 4
    assert all("masked_cells::" in line or "ic == ic_end" in line for line in ours)


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / OPS).parent.mkdir(parents=True)
    shutil.copyfile(source.fetch() / OPS, tmp_path / OPS)
    text = (tmp_path / OPS).read_text(encoding="utf-8")
    (tmp_path / OPS).write_text(text.replace("bool can_skip = true;", "bool skips = true;"), encoding="utf-8")
    with pytest.raises(BuildFailure, match="is not the file"):
        patching.patched_ops(tmp_path, SHIM)
