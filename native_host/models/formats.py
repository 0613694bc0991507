"""The formats of weights."""

from __future__ import annotations

from typing import Literal

Format = Literal["gguf", "safetensors", "onnx", "ollama", "other"]
