"""Models that Ollama has downloaded: manifests that name layers, and layers as files named by their sha256.

    MODELS/manifests/HOST/NAMESPACE/MODEL/TAG      JSON: {"layers": [{"mediaType", "digest", "size"}, …]}
    MODELS/blobs/sha256-HEX                        a layer

Of the layers, weights, system prompt, parameters and adapters have a counterpart in models.json. Its chat
templates are in a language of their own; the one that the GGUF file carries is used.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from native_host.models.sources.found import FoundModel
from native_host.models.sources.naming import plain_name
from native_host.models.spec import AdapterEntry, ModelEntry, Sampling

_LIBRARY = "library"
_SAMPLING = tuple(field.name for field in msgspec.structs.fields(Sampling))
_MAX_LAYER = 1 << 20
"""Texts that are read; weights never are."""


class _Layer(msgspec.Struct):
    media_type: str = msgspec.field(name="mediaType")
    digest: str

    @property
    def kind(self) -> str:
        """`model`, `system`, `params`, `adapter`, `template`, `projector`, …"""
        return self.media_type.partition(";")[0].rpartition(".")[2]


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = []


def folders() -> list[Path]:
    """Where it may keep its models: OLLAMA_MODELS, else the user's folder and that of its Linux service."""
    if named := os.environ.get("OLLAMA_MODELS"):
        return [Path(named).expanduser()]
    return [Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]


def find(models: Path) -> list[FoundModel]:
    """Every manifest with weights that lie there."""
    manifests = models / "manifests"
    found = []
    for file in sorted(manifests.rglob("*")):
        parts = file.relative_to(manifests).parts
        if len(parts) < 3 or not file.is_file():
            continue
        model = _model(models / "blobs", file, parts)
        if model is not None:
            found.append(model)
    return found


def _model(blobs: Path, file: Path, parts: Sequence[str]) -> FoundModel | None:
    try:
        layers = msgspec.json.decode(file.read_bytes(), type=_Manifest).layers
    except (OSError, msgspec.DecodeError):
        return None
    weights = _blobs(blobs, layers, "model")
    if len(weights) != 1:  # none on disk, or a model in several layers that only Ollama can join
        return None
    params = _params(blobs, layers)
    texts = [_read(blob) for blob in _blobs(blobs, layers, "system")]
    adapters = _blobs(blobs, layers, "adapter")
    entry = ModelEntry(
        path=str(weights[0]),
        type="gguf",
        system_prompt="".join(texts) or None,
        sampling=_sampling(params),
        context_length=_positive(params.get("num_ctx")),
        adapters=[AdapterEntry(f"adapter-{number}", str(blob)) for number, blob in enumerate(adapters, 1)],
    )
    return FoundModel(_name(parts), entry, _notes(layers, params))


def _name(parts: Sequence[str]) -> str:
    """`model` for the tag `latest` of Ollama's own library, else with namespace and tag."""
    *_, namespace, model, tag = parts
    name = model if namespace == _LIBRARY else f"{namespace}-{model}"
    return plain_name(name if tag == "latest" else f"{name}-{tag}")


def _notes(layers: list[_Layer], params: dict[str, Any]) -> list[str]:
    kinds = {layer.kind for layer in layers}
    notes = []
    if "template" in kinds:
        notes.append("the chat template is the GGUF file's own, not Ollama's")
    if "adapter" in kinds:
        notes.append("adapters apply where a request names them")
    if "projector" in kinds:
        notes.append("pictures are not understood")
    mapped = (*_SAMPLING, "num_ctx")
    if left := sorted(name for name in params if name not in mapped):
        notes.append(f"parameters without a counterpart: {', '.join(left)}")
    return notes


def _blobs(blobs: Path, layers: list[_Layer], kind: str) -> list[Path]:
    files = [_blob(blobs, layer.digest) for layer in layers if layer.kind == kind]
    return [file for file in files if file is not None]


def _blob(blobs: Path, digest: str) -> Path | None:
    """Older releases wrote the digest's colon into the name."""
    algorithm, _, hexadecimal = digest.partition(":")
    if algorithm != "sha256" or not hexadecimal.isalnum():
        return None
    names = (f"{algorithm}-{hexadecimal}", digest)
    return next((blobs / name for name in names if (blobs / name).is_file()), None)


def _params(blobs: Path, layers: list[_Layer]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for blob in _blobs(blobs, layers, "params"):
        try:
            params.update(msgspec.json.decode(_read(blob), type=dict[str, Any]))
        except msgspec.DecodeError:
            continue
    return params


def _read(blob: Path) -> str:
    with blob.open("rb") as file:
        return file.read(_MAX_LAYER).decode(errors="replace")


def _sampling(params: dict[str, Any]) -> Sampling:
    given = {
        name: params[name]
        for name in _SAMPLING
        if isinstance(params.get(name), int | float) and not isinstance(params[name], bool)
    }
    try:
        return msgspec.convert(given, Sampling, strict=False)
    except msgspec.ValidationError:
        return Sampling()


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
