"""Which backend serves which format, and what must be installed for it.

The host's process imports none of what is named here; it only looks whether it could be imported.
"""

from __future__ import annotations

import importlib.util

import msgspec

from native_host.models.formats import Format
from native_host.models.spec import ModelSpec
from native_host.protocol import errors


class BackendKind(msgspec.Struct, frozen=True):
    """A backend that `models.json` may name. `modules` must be importable; `extra` brings them."""

    name: str
    format: Format
    modules: tuple[str, ...] = ()
    extra: str | None = None


BACKENDS = {
    kind.name: kind
    for kind in (
        BackendKind("gguf", "gguf"),
        BackendKind("llama_cpp", "gguf", ("llama_cpp",), "native-host[llama-cpp]"),
        BackendKind("llama_server", "gguf"),
        BackendKind("transformers", "safetensors", ("torch", "transformers"), "native-host[transformers]"),
        BackendKind("ollama", "ollama"),
        BackendKind("onnx", "onnx", ("onnx", "onnxruntime", "tokenizers"), "native-host[onnx]"),
    )
}
"""The first of a format is the one that serves it where `backend` is not given."""


def backend_of(spec: ModelSpec) -> BackendKind:
    """The backend that is to open a model. Raises unsupported, naming the extra to install."""
    kind = _named(spec)
    if any(importlib.util.find_spec(module) is None for module in kind.modules):
        asked = f"{spec.format} models" + (f" by the backend {kind.name!r}" if spec.entry.backend else "")
        raise errors.unsupported(asked, kind.extra)
    return kind


def _named(spec: ModelSpec) -> BackendKind:
    serving = [kind for kind in BACKENDS.values() if kind.format == spec.format]
    if not serving:
        raise errors.unsupported(f"{spec.format} models")
    wanted = spec.entry.backend
    if wanted is None:
        return serving[0]
    for kind in serving:
        if kind.name == wanted:
            return kind
    names = ", ".join(repr(kind.name) for kind in serving)
    raise errors.unsupported(f"the backend {wanted!r} for {spec.format} models (there is {names})")
