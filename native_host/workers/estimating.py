"""Foresees what a GGUF model will take: `python -m native_host.workers.estimating REQUEST`, where REQUEST is
a `LoadRequest` in JSON. Prints a `Prediction` in JSON.

A process of its own, because llama.cpp works it out from the file, and native code does not run in the host.
"""

from __future__ import annotations

import sys

import msgspec

from native_host.protocol.errors import RpcError
from native_host.workers.messages import LoadRequest, WireError, wire_error


class Memory(msgspec.Struct, frozen=True):
    """Bytes of weights, of KV cache, and of scratch space with outputs."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the process prints: one of the two."""

    memory: Memory | None = None
    error: WireError | None = None


def predict(request: LoadRequest) -> Memory:
    """What loading would take. Raises RpcError, as loading would."""
    import tabagent_model

    from native_host.workers.backends.gguf import PARALLEL, translated

    options = request.options
    with translated(request.path):
        made = tabagent_model.estimate_memory(
            request.path,
            context_length=options.context_length,
            gpu_layers=options.gpu_layers,
            parallel=options.parallel or (PARALLEL if request.backend == "gguf" else 1),
            kv_cache_tokens=options.kv_cache_tokens,
            kv_type=options.kv_type or "f16",
            flash_attention=options.flash_attention,
        )
    return Memory(made["weights_bytes"], made["kv_bytes"], made["compute_bytes"])


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
