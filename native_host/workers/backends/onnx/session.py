"""Opens a checked graph with onnxruntime."""

from __future__ import annotations

import onnxruntime as ort

from native_host.platform.processors import usable_processors
from native_host.protocol import errors
from native_host.workers.backends.onnx.files import Graph
from native_host.workers.backends.onnx.providers import Place
from native_host.workers.messages import LoadOptions


def open_session(graph: Graph, place: Place, options: LoadOptions) -> ort.InferenceSession:
    """Load the graph. Raises model_load_failed."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = options.threads or usable_processors()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    try:
        return ort.InferenceSession(str(graph.path), settings, providers=place.providers)
    except Exception as error:  # noqa: BLE001 -- onnxruntime's exceptions share no base but this
        raise errors.model_load_failed(str(graph.path), str(error).strip().splitlines()[0]) from None
