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
_ALL = 0.9
"""A file of which this part was copied has nothing left in it to compute with."""
_ROWS = 8 << 20
"""Bytes of a table that come back with the rows of ordinary texts, pages around them included."""


def predict(request: LoadRequest) -> Memory:
    """What loading would take. Raises RpcError, as loading would."""
    import tabagent_model

    from native_host.workers.backends.gguf import PARALLEL, named_files, translated

    options = request.options
    with translated(request.path, *(adapter.path for adapter in options.adapters)):
        made = tabagent_model.estimate_memory(
            request.path,
            context_length=options.context_length,
            threads=options.threads,
            gpu_layers=options.gpu_layers,
            parallel=options.parallel or (PARALLEL if request.backend == "gguf" else 1),
            kv_cache_tokens=options.kv_cache_tokens,
            kv_type=options.kv_type or "f16",
            flash_attention=options.flash_attention,
            spill_bytes=options.spill_bytes if request.backend == "gguf" else 0,
            adapters=named_files(options.adapters),
        )
    weights, loading = _weights(made, Path(request.path).stat().st_size, options.gpu_layers)
    worker = most_held(os.getpid()) or 0
    return Memory(
        weights,
        made["kv_bytes"],
        made["compute_bytes"],
        worker,
        loading,
        made["spill_bytes"],
        made["context_shift"],
    )


def _weights(made: native.MemoryEstimate, file_bytes: int, gpu_layers: int) -> tuple[int, int]:
    """What weights hold, and what they hold besides while they are loaded.

    The whole file is mapped and read. Where at least half of it is copied (a processor's module packs it
    anew, for AMX, say, or it goes to a GPU), what was copied is let go of, and of a table of tokens that is
    not computed with only rows come back.
    """
    copies = sum(part["weights_bytes"] for part in made["parts"] if part["memory"] != _MAPPED)
    mapped = sum(part["weights_bytes"] for part in made["parts"] if part["memory"] == _MAPPED)
    if gpu_layers == 0 and 2 * copies < file_bytes:
        return file_bytes + copies, 0
    only_rows = not made["token_table_is_output"] or copies >= _ALL * file_bytes
    kept = mapped - max(made["token_table_bytes"] - _ROWS, 0) if only_rows else mapped
    return copies + kept, file_bytes - kept


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
