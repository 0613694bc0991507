"""The one change to llama.cpp's sources that the pack is built with: attention on the CPU that passes quickly
over the cells of other sequences, and that computes prompts in blocks of our own. The peers of the benchmarks
are built without.
"""

from __future__ import annotations

from pathlib import Path

from runtime_build.failure import BuildFailure

PATCHED = "patched_ops.cpp"
"""What the changed file is called beside the shim."""

_OPS = Path("ggml", "src", "ggml-cpu", "ops.cpp")
_ONE_BY_ONE = "static void ggml_compute_forward_flash_attn_ext_f16_one_chunk(\n"
_NEXT_CELL = "        for (int64_t ic = ic_start; ic < ic_end; ++ic) {\n"
_ATTENTION = "void ggml_compute_forward_flash_attn_ext(\n"
_COMPUTE = "                ggml_compute_forward_flash_attn_ext_f16(params, dst);\n"
CHANGES = {
    _ONE_BY_ONE: f'#include "masked_cells.h"\n{_ONE_BY_ONE}',
    _NEXT_CELL: f"{_NEXT_CELL}"
    "            ic = mp ? masked_cells::next_seen(mp, ic, ic_end) : ic;\n"
    "            if (ic == ic_end) { break; }\n",
    _ATTENTION: f'#include "prompt_attention.h"\n{_ATTENTION}',
    _COMPUTE: f"                if (prompt_attention::compute(params, dst)) {{ break; }}\n{_COMPUTE}",
}
"""What is found, and what is put in its place: the headers are the shim's."""


def patched_ops(sources: Path) -> bytes:
    """ggml's file with the change. Raises BuildFailure where it is not the file that the change is for."""
    text = (sources / _OPS).read_text(encoding="utf-8")
    for found, put in CHANGES.items():
        if text.count(found) != 1:
            raise BuildFailure(f"{_OPS} is not the file that the change is for: it has not one {found!r}")
        text = text.replace(found, put)
    return text.encode()
