"""How much memory a model will take, foreseen without loading it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import msgspec

from native_host.models.load_options import load_request
from native_host.models.memory import WORKER_BYTES, weights_by_size, worker_bytes
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.workers.estimating import Memory, Prediction
from native_host.workers.launcher import PACKAGE_ROOT, child_environment
from native_host.workers.messages import LoadOptions, LoadRequest
from native_host.workers.supervisor import from_wire


class Estimate(msgspec.Struct, frozen=True):
    """Bytes that a model's worker will hold once everything in it has been used: mapped weights count, as
    they do in the process's resident memory.
    """

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    worker_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it, with what the worker holds before it has the model."""
        return self.weights_bytes + self.kv_bytes + self.compute_bytes + self.worker_bytes


async def estimate(model: ModelSpec | Path, options: LoadOptions) -> Estimate:
    """What loading a model with these options would take; a path is one of a GGUF file.

    GGUF: llama.cpp plans the model and its context in a short-lived process that reads the file's header only
    (about 0.2 s). Other formats: their weights as they lie on the disk, and nothing for what they compute
    with. Raises the RpcError that loading would raise for an unsound file or impossible options.
    """
    if isinstance(model, ModelSpec) and model.format != "gguf":
        return Estimate(weights_by_size(model, options), 0, 0, worker_bytes(model))
    if isinstance(model, Path):
        request, worker = LoadRequest("gguf", str(model), options), WORKER_BYTES
    else:
        request, worker = load_request(model, options), worker_bytes(model)
    memory = await _ask(request)
    return Estimate(memory.weights_bytes, memory.kv_bytes, memory.compute_bytes, worker)


async def _ask(request: LoadRequest) -> Memory:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "native_host.workers.estimating",
        msgspec.json.encode(request).decode(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=PACKAGE_ROOT,
        env=child_environment(),
    )
    try:
        printed, _ = await process.communicate()
    finally:
        if process.returncode is None:  # the caller has gone
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise errors.invalid_model_file(request.path, "llama.cpp ended the process that was to plan it")
    prediction = msgspec.json.decode(printed, type=Prediction)
    if prediction.error is not None:
        raise from_wire(prediction.error)
    assert prediction.memory is not None
    return prediction.memory
