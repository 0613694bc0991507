"""The one change to llama.cpp's sources that the pack is built with: attention that passes over the cells of
other sequences quickly. The peers of the benchmarks are built without.
"""

from __future__ import annotations

from pathlib import Path

from runtime_build.failure import BuildFailure

PATCHED = "patched_ops.cpp"
"""What the changed file is called beside the shim."""
ADDITION = "masked_cells.h"
"""The file of the shim that is put before the attention."""

_OPS = Path("ggml", "src", "ggml-cpu", "ops.cpp")
_ATTENTION = "static void ggml_compute_forward_flash_attn_ext_f16_one_chunk(\n"
_NEXT_CELL = "        for (int64_t ic = ic_start; ic < ic_end; ++ic) {\n            const float mv = mp ?"
_TILE_OF_CELLS = "            if (mask) {\n                bool can_skip = true;\n"
_BY_TILES = (
    "                ggml_compute_forward_flash_attn_ext_tiled(params, dst, ir0, ir1);\n            } else {"
)


def patched_ops(sources: Path, shim: Path) -> bytes:
    """ggml's file with the change. Raises BuildFailure where it is not the file that the change is for."""
    text = (sources / _OPS).read_text(encoding="utf-8")
    addition = (shim / ADDITION).read_text(encoding="utf-8")
    skip_cells = "ic = mp ? masked_cells::next_seen(mp, ic, ic_end) : ic;"
    skip_tile = "if (mask && masked_cells::hides_all(dst, ir, tile_rows, ic, ic + kv_tile)) { continue; }"
    changes = {
        _ATTENTION: addition + _ATTENTION,
        _NEXT_CELL: _NEXT_CELL.replace(
            "{\n", f"{{\n            {skip_cells}\n            if (ic == ic_end) {{ break; }}\n"
        ),
        _TILE_OF_CELLS: f"            {skip_tile}\n{_TILE_OF_CELLS}",
        _BY_TILES: _BY_TILES.replace("ggml_compute_forward_flash_attn_ext_tiled", "masked_cells::attend"),
    }
    for found, put in changes.items():
        if text.count(found) != 1:
            raise BuildFailure(f"{_OPS} is not the file that {ADDITION} is for: it has not one {found!r}")
        text = text.replace(found, put)
    return text.encode()
