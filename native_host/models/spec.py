"""What `models.json` may say about one model, and what the host makes of it.

The keys are those of the wire contract: a file that another release wrote loads here, including keys that no
backend of this release reads yet.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from native_host.models.formats import Format
from native_host.models.sources.store import Store
from native_host.units import bytes_of, seconds_of
from native_host.workers.messages import AdapterFile


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


Positive = Meta(extra_json_schema={"minimum": 1})
"""For editors; the registry words its own refusals."""


class ModelEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One member of `models` in `models.json`, as written there."""

    path: Annotated[
        str, Meta(description="A file or folder, from this file's folder, or a hub's owner/name.")
    ]
    type: Annotated[
        str | None, Meta(description="gguf, transformers, onnx or ollama; told by the path otherwise.")
    ] = None
    format: Annotated[str | None, Meta(description="gguf, safetensors, onnx or ollama; beats type.")] = None
    device: Annotated[str | None, Meta(description="auto, cpu, cuda, cuda:N or mps.")] = None
    quantization: Annotated[str | None, Meta(description="Quantize on loading: 4bit or 8bit.")] = None
    max_memory: Annotated[
        str | int | dict[str, str | int] | None,
        Meta(description='The most that it may take: "8GB", bytes, or one size a device.'),
    ] = None
    context_length: Annotated[int | None, Positive, Meta(description="Tokens of the longest sequence.")] = (
        None
    )
    threads: Annotated[
        int | None, Positive, Meta(description="Threads to compute with, no more than there are processors.")
    ] = None
    aliases: Annotated[list[str], Meta(description="Other names that mean this model.")] = []
    backend: Annotated[str | None, Meta(description="The backend, where a format has several.")] = None
    gpu_layers: Annotated[
        int | None, Meta(description="GGUF: layers on the GPU; -1: all.", extra_json_schema={"minimum": -1})
    ] = None
    mlock: Annotated[bool, Meta(description="GGUF: keep the weights from being swapped out.")] = False
    parallel: Annotated[int | None, Positive, Meta(description="Sequences decoded at once.")] = None
    kv_cache_tokens: Annotated[
        int | None, Positive, Meta(description="Cells of the KV cache that all sequences share.")
    ] = None
    kv_type: Annotated[
        Literal["f32", "f16", "q8_0", "q4_0"] | None, Meta(description="GGUF: type of the KV cache.")
    ] = None
    flash_attention: Annotated[
        bool | Literal["auto", "on", "off"] | None, Meta(description="GGUF: chosen where not given.")
    ] = None
    context_shift: Annotated[
        bool,
        Meta(description="GGUF: answers go on without older text when the context is full, and do not end."),
    ] = False
    spill_memory: Annotated[
        str | int | None,
        Meta(
            description='GGUF: main memory for what leaves the KV cache: "512MB", or bytes; by default none.'
        ),
    ] = None
    adapters: Annotated[
        list[AdapterEntry] | dict[str, str],
        Meta(description="LoRA adapters that requests may choose: a list, or paths by name."),
    ] = []
    draft_model: Annotated[str | None, Meta(description="Not supported yet: such a model is refused.")] = None
    keep_alive: Annotated[
        str | int | float | None,
        Meta(description='How long it stays loaded unused: "5m", seconds, 0: not at all, -1: for good.'),
    ] = None
    pinned: Annotated[
        bool, Meta(description="Loaded when a daemon starts, and never unloaded to make room.")
    ] = False
    system_prompt: Annotated[str | None, Meta(description="For chats that have none of their own.")] = None
    prompt: Annotated[
        str | None, Meta(description="The named prompt that wraps its chats' system prompt.")
    ] = None
    sampling: Annotated[Sampling, Meta(description="Defaults of its requests.")] = Sampling()
    placement: Annotated[
        str | dict[str, str | int | list[str]] | None,
        Meta(description="Not supported yet: such a model is refused."),
    ] = None


class ModelSpec(msgspec.Struct, frozen=True):
    """A model of the registry: its entry, with its name, its place and its format worked out.

    `file` is the absolute path of a local file or folder, or `None` where `entry.path` names a hub's
    repository. `derived_from` is the file that the folder `file` is made from on its first load.
    """

    name: str
    entry: ModelEntry
    format: Format
    file: Path | None
    adapters: list[AdapterFile] = []
    derived_from: Path | None = None

    @property
    def hub_repository(self) -> str | None:
        """The hub's repository, with a quantization maybe, that `entry.path` names, where it names one that
        is not here.
        """
        return self.entry.path.removeprefix("hf:") if self.file is None and not self.remote else None

    @property
    def remote(self) -> bool:
        """Whether a server has it, under the name `entry.path`: then there is no file to look at."""
        return self.format == "ollama"

    @property
    def location(self) -> str:
        """What its backend opens: a file or folder, or the name that a server has for it."""
        return self.entry.path if self.remote else str(self.file)

    @property
    def type(self) -> str:
        """The entry's own `type`, or its format where it gives none."""
        return self.entry.type or self.format

    @property
    def stored(self) -> Path | None:
        """The model's file or folder on this machine: what it is derived from, until that was done."""
        if self.derived_from is not None and not _exists(self.file):
            return self.derived_from
        return self.file

    def present(self) -> bool:
        """Whether the model's file or folder is here now, or can be made; a server is not asked."""
        return self.remote or _exists(self.stored)


def _exists(path: Path | None) -> bool:
    try:
        return path is not None and path.exists()
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
    "ollama": "ollama",
}


def format_of(entry: ModelEntry) -> Format:
    """The weights' format: by `format`, else by `type`, else by the end of the path."""
    for said in (entry.format, entry.type, Path(entry.path).suffix.lstrip(".")):
        if said and said.lower() in _FORMAT_NAMES:
            return _FORMAT_NAMES[said.lower()]
    return "other"


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def file_of(entry: ModelEntry, folder: Path, weights: Format) -> Path | None:
    """The local path that an entry means; relative paths count from the folder of its `models.json`.

    `owner/name` without a local counterpart, unless it names a GGUF file, and `hf:owner/name[:quant]` are a
    hub's repository, and mean what was pulled of it; `None` where nothing was.
    """
    if weights == "ollama":
        return None
    if entry.path.startswith("hf:"):
        return Store().find(entry.path, weights)
    path = Path(entry.path).expanduser()
    local = path if path.is_absolute() else (folder / path).absolute()
    if _REPOSITORY.fullmatch(entry.path) is None or path.suffix == ".gguf" or local.exists():
        return local
    return Store().find(entry.path, weights)


def adapters_of(entry: ModelEntry, folder: Path) -> list[AdapterFile]:
    """The adapters of an entry; relative paths count from the folder of its `models.json`."""
    given = entry.adapters
    entries = [AdapterEntry(name, path) for name, path in given.items()] if isinstance(given, dict) else given
    return [
        AdapterFile(each.name, str((folder / Path(each.path).expanduser()).absolute()), each.scale)
        for each in entries
    ]


def max_memory_of(entry: ModelEntry) -> int | dict[str, int] | None:
    """`max_memory` in bytes: of all devices together, or by the device's name. Raises ValueError."""
    return None if entry.max_memory is None else memory_limit(entry.max_memory)


def spill_bytes_of(entry: ModelEntry) -> int | None:
    """`spill_memory` in bytes. Raises ValueError."""
    return None if entry.spill_memory is None else bytes_of(entry.spill_memory, least=0)


def memory_limit(given: str | int | dict[str, str | int]) -> int | dict[str, int]:
    """A limit of memory in bytes: of all devices together, or by the device's name. Raises ValueError."""
    if isinstance(given, dict):
        return {device: bytes_of(size) for device, size in given.items()}
    return bytes_of(given)


def keep_alive_of(entry: ModelEntry, default_s: float) -> float:
    """Seconds that a model stays loaded when nobody uses it; infinite for one that stays for good.

    Raises ValueError.
    """
    if entry.pinned:
        return math.inf
    return default_s if entry.keep_alive is None else seconds_of(entry.keep_alive)
