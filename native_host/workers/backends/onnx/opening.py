"""Opens a folder as what its graph is."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from native_host.workers.backends import Backend, Progress
from native_host.workers.backends.onnx.encoder import Encoder
from native_host.workers.backends.onnx.files import find_graph
from native_host.workers.backends.onnx.generator import Generator
from native_host.workers.backends.onnx.providers import place
from native_host.workers.backends.onnx.session import open_session
from native_host.workers.messages import LoadOptions


def open_folder(path: str, options: LoadOptions, progress: Progress) -> Backend:
    """Load the model in a folder. Raises RpcError."""
    folder = Path(path)
    graph = find_graph(folder)
    chosen = place(options.device)
    progress(0.1)
    session = open_session(graph, chosen, options)
    progress(0.9)
    kind = Generator if _is_causal(session) else Encoder
    backend = kind(folder, graph, session, chosen, options)
    progress(1.0)
    return backend


def _is_causal(session: ort.InferenceSession) -> bool:
    """Whether it has a cache to go in and out: keys and values are the only inputs of four dimensions."""
    return any(len(each.shape) == 4 for each in session.get_inputs())
