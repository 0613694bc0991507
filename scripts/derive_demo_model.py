"""Derives the built-in model's other formats from its one committed file, weight for weight.

    python scripts/derive_demo_model.py --to safetensors DIR [--type f32]
    python scripts/derive_demo_model.py --to onnx DIR [--type f32]

`safetensors` writes a Hugging Face folder that transformers opens; `onnx` the same folder with model.onnx in
place of the weights, and genai_config.json; it needs onnx. The workers do the same when the built-in model is
asked for in one of these formats. Weights are stored in F16 unless told otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from native_host.models.registry import BUILTIN_FILE  # noqa: E402 - the checkout, wherever we start
from native_host.workers.derived.onnx import derive_onnx  # noqa: E402
from native_host.workers.derived.safetensors import Source, derive_safetensors  # noqa: E402

DERIVE = {"safetensors": derive_safetensors, "onnx": derive_onnx}


def main() -> None:
    """Parse arguments and derive."""
    parser = argparse.ArgumentParser(description="Derive the built-in model's other formats.")
    parser.add_argument("--to", choices=list(DERIVE), required=True, help="the format to derive")
    parser.add_argument("folder", type=Path, help="where to write it")
    parser.add_argument("--type", choices=["f32", "f16"], default="f16", help="how weights are stored")
    parser.add_argument(
        "--source", type=Path, default=BUILTIN_FILE, help="the GGUF file, if not the built-in one"
    )
    arguments = parser.parse_args()
    DERIVE[arguments.to](Source(arguments.source), arguments.folder, arguments.type)
    print(f"{arguments.folder}: derived from {arguments.source.name}")


if __name__ == "__main__":
    main()
