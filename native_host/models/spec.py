"""What `models.json` may say about one model, and what the host makes of it.

The keys are those of the wire contract: a file that another release wrote loads here, including keys that no
backend of this release reads yet.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from native_host.workers.messages import AdapterFile

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
    """A LoRA adapter that belongs to a model. `scale` multiplies the scale that a request asks for."""

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
    adapters: list[AdapterFile] = []

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


def adapters_of(entry: ModelEntry, folder: Path) -> list[AdapterFile]:
    """The adapters of an entry; relative paths count from the folder of its `models.json`."""
    given = entry.adapters
    entries = [AdapterEntry(name, path) for name, path in given.items()] if isinstance(given, dict) else given
    return [
        AdapterFile(each.name, str((folder / Path(each.path).expanduser()).absolute()), each.scale)
        for each in entries
    ]


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def bytes_of(size: str | int) -> int:
    """Bytes that a size such as `"8GB"`, `"512 MiB"` or `8589934592` means; units are powers of 1,024.

    Raises ValueError.
    """
    if isinstance(size, int):
        number, unit = float(size), ""
    else:
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])i?b?|b)?\s*", size, re.IGNORECASE)
        if match is None:
            raise ValueError(f'{size!r} is no size; write it like "8GB" or in bytes')
        number, unit = float(match.group(1)), (match.group(2) or "").lower()
    if number <= 0:
        raise ValueError(f"must be above 0, not {size}")
    return int(number * _UNITS[unit])


def max_memory_of(entry: ModelEntry) -> int | dict[str, int] | None:
    """`max_memory` in bytes: of all devices together, or by the device's name. Raises ValueError."""
    given = entry.max_memory
    if given is None:
        return None
    if isinstance(given, dict):
        return {device: bytes_of(size) for device, size in given.items()}
    return bytes_of(given)
