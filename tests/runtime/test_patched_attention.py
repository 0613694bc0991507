"""The one changed file of llama.cpp: made of the file that the change is for, and of no other."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
from runtime_build import patching, source
from runtime_build.failure import BuildFailure

OPS = Path("ggml", "src", "ggml-cpu", "ops.cpp")


def test_the_change_is_in_and_nothing_else_is_changed() -> None:
    before = (source.fetch() / OPS).read_text(encoding="utf-8").splitlines()
    after = patching.patched_ops(source.fetch()).decode().splitlines()
    assert not Counter(before) - Counter(after)
    assert [line.strip() for line in Counter(after) - Counter(before)] == [
        '#include "masked_cells.h"',
        "ic = mp ? masked_cells::next_seen(mp, ic, ic_end) : ic;",
        "if (ic == ic_end) { break; }",
        '#include "prompt_attention.h"',
        "if (prompt_attention::compute(params, dst)) { break; }",
    ]


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / OPS).parent.mkdir(parents=True)
    shutil.copyfile(source.fetch() / OPS, tmp_path / OPS)
    text = (tmp_path / OPS).read_text(encoding="utf-8")
    (tmp_path / OPS).write_text(text.replace("++ic) {", "ic++) {"), encoding="utf-8")
    with pytest.raises(BuildFailure, match="is not the file"):
        patching.patched_ops(tmp_path)
