"""Foresees what a GGUF model will take: `python -m native_host.workers.estimating REQUEST`, where REQUEST is
a `LoadRequest` in JSON. Prints a `Prediction` in JSON.

A process of its own, because llama.cpp works it out from the file, and native code does not run in the host.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import native_host.workers.entry  # what a worker holds anyway, and so does this process now
from native_host.platform.process_memory import most_held
from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadRequest, Memory, Prediction, wire_error

if TYPE_CHECKING:
    from tabagent_model import types as native

assert native_host.workers.entry is not None
_MAPPED = "CPU"
"""llama.cpp's name for weights that are used as they lie in the mapped file."""


def predict(request: LoadRequest) -> Memory:
    """What loading would take. Raises RpcError, as loading would."""
    import tabagent_model

    from native_host.workers.backends.gguf import PARALLEL, named_files, translated

    options = request.options
    with translated(request.path, *(adapter.path for adapter in options.adapters)):
        made = tabagent_model.estimate_memory(
            request.path,
            context_length=options.context_length,
            gpu_layers=options.gpu_layers,
            parallel=options.parallel or (PARALLEL if request.backend == "gguf" else 1),
            kv_cache_tokens=options.kv_cache_tokens,
            kv_type=options.kv_type or "f16",
            flash_attention=options.flash_attention,
            adapters=named_files(options.adapters),
        )
    weights = _weights(made["parts"], Path(request.path).stat().st_size, options.gpu_layers)
    worker = most_held(os.getpid()) or 0
    return Memory(weights, made["kv_bytes"], made["compute_bytes"], worker)


def _weights(parts: list[native.MemoryPart], file_bytes: int, gpu_layers: int) -> int:
    """The whole file is mapped and read, and stays so beside what a processor's module packs anew (for AMX,
    say) into memory of its own. With a GPU, llama.cpp lets go of the file's part that went there.
    """
    copies = sum(part["weights_bytes"] for part in parts if part["memory"] != _MAPPED)
    if gpu_layers == 0:
        return file_bytes + copies
    return copies + sum(part["weights_bytes"] for part in parts if part["memory"] == _MAPPED)


def main(arguments: list[str]) -> None:
    """Predict and print."""
    request = msgspec.json.decode(arguments[0], type=LoadRequest)
    try:
        prediction = Prediction(memory=predict(request))
    except RpcError as error:
        prediction = Prediction(error=wire_error(error))
    sys.stdout.buffer.write(msgspec.json.encode(prediction))


if __name__ == "__main__":
    main(sys.argv[1:])
