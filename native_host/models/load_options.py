"""What a worker is asked for to load a model, and which models it is not even asked for."""

from __future__ import annotations

import shlex
from typing import Literal

import msgspec

from native_host.models.backends import backend_of
from native_host.models.formats import Format
from native_host.models.inspection import require_file, require_folder
from native_host.models.spec import ModelSpec, max_memory_of, spill_bytes_of
from native_host.platform.processors import usable_processors
from native_host.protocol import errors
from native_host.workers.messages import LoadOptions, LoadRequest

Flash = Literal["auto", "on", "off"]
_FLASH: dict[bool | Flash | None, Flash] = {
    None: "auto",
    True: "on",
    False: "off",
    "auto": "auto",
    "on": "on",
    "off": "off",
}

_GGUF_ONLY = {
    "gpu_layers": "gpu_layers",
    "mlock": "mlock",
    "kv_type": "kv_type",
    "flash_attention": "flash_attention",
    "context_shift": "context_shift",
    "spill_bytes": "spill_memory",
}
"""Options that only GGUF models have, with the keys that give them."""
_NOT_ONNX = ("adapters", "quantization")
_NOT_REMOTE = ("kv_cache_tokens", "adapters", "device", "quantization", "max_memory")
_NOT_BY_FORMAT: dict[Format, tuple[str, ...]] = {"onnx": _NOT_ONNX, "ollama": _NOT_REMOTE}
_ALWAYS_HERE = (None, "auto", "cpu")
_DEFAULTS = LoadOptions()


def options_of(spec: ModelSpec) -> LoadOptions:
    """The load options that a model's entry gives."""
    entry = spec.entry
    return LoadOptions(
        context_length=entry.context_length,
        threads=entry.threads,
        gpu_layers=entry.gpu_layers or 0,
        mlock=entry.mlock,
        parallel=entry.parallel,
        kv_cache_tokens=entry.kv_cache_tokens,
        kv_type=entry.kv_type,
        flash_attention=_FLASH[entry.flash_attention],
        context_shift=entry.context_shift,
        spill_bytes=spill_bytes_of(entry),
        adapters=spec.adapters,
        device=entry.device,
        quantization=entry.quantization,
        max_memory=max_memory_of(entry),
    )


def load_request(spec: ModelSpec, options: LoadOptions) -> LoadRequest:
    """What its worker is told. More threads than processors are not used: they wait for each other by
    spinning, and a model that computes by dozens of them on two processors answers nobody.

    Raises unsupported.
    """
    if options.threads is not None:
        options = msgspec.structs.replace(options, threads=min(options.threads, usable_processors()))
    source = None if spec.derived_from is None else str(spec.derived_from)
    return LoadRequest(backend_of(spec).name, spec.location, options, source)


def refuse_unusable(spec: ModelSpec, options: LoadOptions | None = None) -> None:
    """Refuse a model that this release or this machine cannot open, or not with these options (those of its
    entry where none are given).

    Raises unsupported, model_absent and invalid_model_file.
    """
    backend_of(spec)
    _refuse_keys(spec, options_of(spec) if options is None else options)
    if not spec.present():
        raise errors.model_absent(spec.name, way_to_get(spec))
    if spec.remote:
        return
    assert spec.file is not None  # present() has seen it
    if spec.derived_from is not None:
        return
    if spec.format == "gguf":
        require_file(spec.file)
    else:
        require_folder(spec.file)


def way_to_get(spec: ModelSpec) -> str:
    """What to do about a model that is not on this machine."""
    if spec.hub_repository is None:
        return f"put the file at {spec.file}, or change its path in models.json"
    source, name = shlex.quote(f"hf:{spec.hub_repository}"), shlex.quote(spec.name)
    return f"native-host models pull {source} --name {name}"


def _refuse_keys(spec: ModelSpec, options: LoadOptions) -> None:
    """Refuse what an entry or a request asks for and nothing here would heed: silence would look like assent.

    Raises unsupported.
    """
    for key in ("draft_model", "placement"):
        if getattr(spec.entry, key) is not None:
            raise errors.unsupported(f"{key} (model {spec.name!r})")
    if spec.format == "gguf":
        if options.quantization is not None:
            raise errors.unsupported("quantization of GGUF models on loading: a file has its own")
        if options.device not in _ALWAYS_HERE:
            raise errors.unsupported(
                f"device {options.device!r} for GGUF models: gpu_layers says what a GPU gets"
            )
        return
    for key in (*_GGUF_ONLY, *_NOT_BY_FORMAT.get(spec.format, ())):
        if getattr(options, key) != getattr(_DEFAULTS, key):
            raise errors.unsupported(f"{_GGUF_ONLY.get(key, key)} for {spec.format} models")
