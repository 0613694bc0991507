"""How much memory a model will take, foreseen without loading it."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import msgspec

from native_host.models.backends import backend_of
from native_host.models.load_options import load_request
from native_host.models.memory import by_shape, weights_by_size, worker_bytes
from native_host.models.spec import ModelSpec
from native_host.protocol import errors
from native_host.workers.launcher import PACKAGE_ROOT, child_environment
from native_host.workers.messages import LoadOptions, LoadRequest, Memory, Prediction
from native_host.workers.supervisor import from_wire

PLANNING_S = 60.0
"""How long the process that plans a model may take, in seconds: it reads a header."""


class Estimate(msgspec.Struct, frozen=True):
    """The most bytes that a model's worker will hold, by the manager's count: mapped files count where they
    are resident, and memory that processes share by each one's part. The KV cache is wholly resident from the
    start; scratch space grows to this with the longest batches and contexts. `loading_bytes` are held
    besides, and only while the model is loaded: what is then copied out of its file. `spill_bytes` is
    the most that prefixes take which left the KV cache; they come with use. `context_shift` says whether an
    answer can go on when its context is full.
    """

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    worker_bytes: int
    loading_bytes: int = 0
    spill_bytes: int = 0
    context_shift: bool = False

    @property
    def total_bytes(self) -> int:
        """All of it, with what the worker holds besides."""
        held = self.weights_bytes + self.kv_bytes + self.compute_bytes + self.worker_bytes
        return held + self.spill_bytes

    @property
    def peak_bytes(self) -> int:
        """The most at any time."""
        # Scratch space is not used before the model is there, and nothing is spilled.
        later = self.compute_bytes + self.spill_bytes
        return max(self.total_bytes, self.total_bytes - later + self.loading_bytes)


async def estimate(model: ModelSpec | Path, options: LoadOptions) -> Estimate:
    """What loading a model with these options would take; a path is one of a GGUF file.

    GGUF: llama.cpp plans the model and its context in a short-lived process that reads the file's header only
    (0.2 s, or more with a large vocabulary) and tells what it took itself. Language models in SafeTensors are
    reckoned from their config.json (`folder_memory.py`), with one sequence of full length: others take
    memory as they come. All else: its weights as they lie on the disk, and nothing for what it computes with.
    Raises the RpcError that loading would raise for an unsound file or impossible options.
    """
    if isinstance(model, Path):
        return _of(await _ask(LoadRequest("gguf", str(model), options)))
    if model.format != "gguf":
        return Estimate(weights_by_size(model, options), *by_shape(model, options), worker_bytes(model))
    made = _of(await _ask(load_request(model, options)))
    if backend_of(model).name == "gguf":
        return made
    return msgspec.structs.replace(made, worker_bytes=max(made.worker_bytes, worker_bytes(model)))


def _of(memory: Memory) -> Estimate:
    return Estimate(**msgspec.structs.asdict(memory))


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
    answer = asyncio.ensure_future(process.communicate())
    try:
        await asyncio.wait({answer}, timeout=PLANNING_S)
        in_time = answer.done()
    finally:
        if not answer.done():  # it hangs, or the caller has gone
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait({answer})
    printed, _ = answer.result()
    if not in_time:
        raise errors.model_load_failed(request.path, f"it could not be planned within {PLANNING_S:g} s")
    if process.returncode != 0:
        raise errors.invalid_model_file(request.path, "llama.cpp ended the process that was to plan it")
    prediction = msgspec.json.decode(printed, type=Prediction)
    if prediction.error is not None:
        raise from_wire(prediction.error)
    assert prediction.memory is not None
    return prediction.memory
