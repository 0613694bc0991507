"""Which file of a folder is the graph, and whether onnxruntime may be given it.

onnxruntime maps whatever file a graph names as its weights; so a graph is read first, and only files of its
own folder that are nobody else's are let through. In a hub's cache a folder's files are links to where the
cache keeps them; these count as its own.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
from google.protobuf.message import DecodeError

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends.text import read_json

GENAI_CONFIG = "genai_config.json"
_PLACES = ("model.onnx", "onnx/model.onnx", "decoder_model_merged.onnx", "onnx/decoder_model_merged.onnx")
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc"})
"""Operators that onnxruntime brings itself. Others would be in a library that a model asks us to load."""
_LARGEST_GRAPH = 2 << 30


class Graph(msgspec.Struct, frozen=True):
    """A graph that may be opened. `settings` are those of genai_config.json; empty where there is none."""

    path: Path
    operators: frozenset[str]
    bytes: int
    settings: dict[str, Any]


def find_graph(folder: Path) -> Graph:
    """The graph of a folder, checked. Raises invalid_model_file and unsupported."""
    settings = read_json(folder / GENAI_CONFIG)
    path = _path(folder, settings)
    _require_own_file(path, folder)
    if path.stat().st_size > _LARGEST_GRAPH:
        raise _invalid(path, "is larger than a graph can be; its weights belong into files beside it")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise _invalid(path, f"is no ONNX graph: {error}") from None
    operators = frozenset(node.op_type for node in _nodes(model))
    _require_known_operators(path, model)
    weights = sum(_require_own_file(file, folder) for file in _external_files(path, model))
    return Graph(path, operators, path.stat().st_size + weights, settings)


def _path(folder: Path, settings: dict[str, Any]) -> Path:
    """The file that genai_config.json names, else one of the usual names, else the only graph."""
    if settings:
        try:
            return folder / str(settings["model"]["decoder"]["filename"])
        except (KeyError, TypeError):
            raise _invalid(folder / GENAI_CONFIG, "names no decoder's file") from None
    for name in _PLACES:
        if (folder / name).exists():
            return folder / name
    graphs = sorted(folder.glob("*.onnx"))
    if len(graphs) != 1:
        found = ", ".join(graph.name for graph in graphs) or "none"
        raise _invalid(folder, f"needs one graph called model.onnx; .onnx files there: {found}")
    return graphs[0]


def _require_own_file(path: Path, folder: Path) -> int:
    """Refuse a file that is not the folder's alone; answers its size. Raises invalid_model_file."""
    try:
        real = path.resolve(strict=True)
        inside = not path.is_symlink() and real.is_relative_to(folder.resolve(strict=True))
        status = real.stat()
    except OSError as error:
        raise _invalid(path, f"cannot be read: {error.strerror}") from None
    if not inside and not _is_kept_in_cache(path, real, folder):
        raise _invalid(path, "leads out of the model's folder")
    if not stat.S_ISREG(status.st_mode):
        raise _invalid(path, "is no regular file")
    if status.st_nlink > 1:
        raise _invalid(path, "has another name (a hard link), so it need not be the model's own; copy it")
    return status.st_size


def _is_kept_in_cache(path: Path, real: Path, folder: Path) -> bool:
    """Whether a file of a snapshot in a hub's cache is kept among the blobs of the same repository."""
    snapshots = next((each for each in folder.absolute().parents if each.name == "snapshots"), None)
    if snapshots is None or not path.absolute().is_relative_to(snapshots):
        return False
    return real.parent == (snapshots.parent / "blobs").resolve()


def _require_known_operators(path: Path, model: onnx.ModelProto) -> None:
    own = {function.domain for function in model.functions}
    for node in _nodes(model):
        if node.domain not in _DOMAINS | own:
            raise errors.unsupported(
                f"the operator {node.domain}.{node.op_type} of {path.name}: custom operators are not loaded"
            )


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches, loops and functions too."""
    yield from _inner_nodes(model.graph.node)
    for function in model.functions:
        yield from _inner_nodes(function.node)


def _inner_nodes(nodes: Any) -> Iterator[onnx.NodeProto]:  # noqa: ANN401 -- protobuf's container has no type
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _inner_nodes(graph.node)


def _external_files(path: Path, model: onnx.ModelProto) -> set[Path]:
    """The files that hold weights of the graph."""
    tensors = [*model.graph.initializer, *model.graph.sparse_initializer]
    for node in _nodes(model):
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for graph in (attribute.g, *attribute.graphs):
                tensors += graph.initializer
    return {
        path.parent / entry.value
        for tensor in tensors
        for entry in getattr(tensor, "external_data", ())
        if entry.key == "location"
    }


def _invalid(path: Path, problem: str) -> RpcError:
    return errors.invalid_model_file(str(path), problem)
