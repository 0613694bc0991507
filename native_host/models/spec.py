"""What `models.json` may say about one model, and what the host makes of it.

The keys are those of the wire contract: a file that another release wrote loads here, including keys that no
backend of this release reads yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

Format = Literal["gguf", "safetensors", "onnx", "other"]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A model's own sampling defaults; `None` leaves the host's default in place."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class AdapterEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A LoRA adapter that belongs to a model."""

    name: str
    path: str
    scale: float = 1.0


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One member of `models` in `models.json`, as written there."""

    path: str
    type: str | None = None
    format: str | None = None
    device: str | None = None
    quantization: str | None = None
    max_memory: str | int | dict[str, str | int] | None = None
    context_length: int | None = None
    threads: int | None = None
    aliases: list[str] = []
    backend: str | None = None
    gpu_layers: int | None = None
    mlock: bool = False
    parallel: int | None = None
    kv_cache_tokens: int | None = None
    kv_type: Literal["f32", "f16", "q8_0", "q4_0"] | None = None
    flash_attention: bool | Literal["auto", "on", "off"] | None = None
    adapters: list[AdapterEntry] | dict[str, str] = []
    draft_model: str | None = None
    keep_alive: str | int | float | None = None
    pinned: bool = False
    system_prompt: str | None = None
    sampling: Sampling = Sampling()
    placement: str | dict[str, str | int | list[str]] | None = None


class ModelSpec(msgspec.Struct, frozen=True):
    """A model of the registry: its entry, with its name, its place and its format worked out.

    `file` is the absolute path of a local file or folder, or `None` where `entry.path` names a hub's
    repository.
    """

    name: str
    entry: ModelEntry
    format: Format
    file: Path | None

    @property
    def type(self) -> str:
        """The entry's own `type`, or its format where it gives none."""
        return self.entry.type or self.format

    def present(self) -> bool:
        """Whether the model's file or folder is on this machine now."""
        try:
            return self.file is not None and self.file.exists()
        except OSError:  # a folder on the way that may not be searched, a name that is too long
            return False


_FORMAT_NAMES: dict[str, Format] = {
    "gguf": "gguf",
    "llama.cpp": "gguf",
    "llama_cpp": "gguf",
    "safetensor": "safetensors",
    "safetensors": "safetensors",
    "transformers": "safetensors",
    "onnx": "onnx",
}


def format_of(entry: ModelEntry) -> Format:
    """The weights' format: by `format`, else by `type`, else by the end of the path."""
    for said in (entry.format, entry.type, Path(entry.path).suffix.lstrip(".")):
        if said and said.lower() in _FORMAT_NAMES:
            return _FORMAT_NAMES[said.lower()]
    return "other"


def file_of(entry: ModelEntry, folder: Path, weights: Format) -> Path | None:
    """The local path that an entry means; relative paths count from the folder of its `models.json`.

    `owner/name` without a local counterpart is a hub's repository for the formats that hubs serve as folders.
    """
    path = Path(entry.path).expanduser()
    local = path if path.is_absolute() else (folder / path).absolute()
    if weights == "gguf" or path.is_absolute() or local.exists():
        return local
    return None
