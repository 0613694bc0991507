"""Derives the built-in model's other formats from its one committed file, weight for weight.

    python scripts/derive_demo_model.py --to safetensors DIR [--type f32]
    python scripts/derive_demo_model.py --to onnx DIR [--type f16]

`safetensors` writes a Hugging Face folder that transformers opens, in F16 unless told otherwise; the workers
do the same when the built-in model is asked for in that format. `onnx` writes the same folder with model.onnx
in place of the weights, stored in F32 or F16 and computed in F32, and genai_config.json; it needs onnx.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from native_host.models.registry import BUILTIN_FILE  # noqa: E402 - the checkout, wherever we start
from native_host.workers.backends.onnx.llama_graph import genai_config, llama_graph  # noqa: E402
from native_host.workers.backends.onnx.storage import save, stored_as  # noqa: E402
from native_host.workers.derived.safetensors import (  # noqa: E402
    Source,
    config,
    derive_safetensors,
    derive_tensors,
    write_companions,
    write_json,
)


def derive_onnx(source: Source, folder: Path, storage: str) -> None:
    """Write the folder with the graph; `storage` is F32 or F16."""
    write_companions(source, folder, "f16")
    graph = llama_graph(config(source, "f16"), derive_tensors(source))
    save(stored_as(graph, storage), folder / "model.onnx")
    write_json(folder / "genai_config.json", genai_config(config(source, "f16"), "model.onnx"))


def main() -> None:
    """Parse arguments and derive."""
    parser = argparse.ArgumentParser(description="Derive the built-in model's other formats.")
    parser.add_argument("--to", choices=["safetensors", "onnx"], required=True, help="the format to derive")
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("--type", choices=["f32", "f16"], help="how weights are stored (f16; f32 for ONNX)")
    parser.add_argument(
        "--source", type=Path, default=BUILTIN_FILE, help="the GGUF file, if not the built-in one"
    )
    arguments = parser.parse_args()
    source = Source(arguments.source)
    if arguments.to == "onnx":
        derive_onnx(source, arguments.folder, (arguments.type or "f32").upper())
    else:
        derive_safetensors(source, arguments.folder, arguments.type or "f16")
    print(f"{arguments.folder}: derived from {arguments.source.name}")


if __name__ == "__main__":
    main()
