"""Loads a model's weights: never a pickle, never somebody's code; progress is what has arrived in memory."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import torch
from transformers import PreTrainedModel

from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import Progress
from native_host.workers.backends.transformers.folder import weights_bytes
from native_host.workers.backends.transformers.placing import Placement
from native_host.workers.messages import LoadOptions

_LOOK_EVERY_S = 0.1
_BEFORE = 0.1
"""The part of a load that importing libraries stands for."""


class AutoClass(Protocol):
    """One of transformers' Auto classes."""

    def from_pretrained(self, name: str, **options: object) -> PreTrainedModel:
        """Load a folder."""


def load_model(
    kind: AutoClass,
    folder: Path,
    placement: Placement,
    options: LoadOptions,
    progress: Progress,
    attention: str | None = None,
) -> PreTrainedModel:
    """The weights, on their device. `kind` is one of transformers' Auto classes; `attention` the
    implementation, where it is not to be transformers' choice.

    Raises insufficient_memory, model_load_failed and unsupported.
    """
    arguments = {**_quantization(placement), **_split(placement, options), "attn_implementation": attention}
    with _reported(progress, weights_bytes(folder)), _translated(folder):
        model = kind.from_pretrained(
            str(folder),
            dtype=placement.dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **arguments,
        )
        if "device_map" not in arguments:
            model = model.to(placement.device)
    model.requires_grad_(False)
    return model.eval()


def _quantization(placement: Placement) -> dict[str, Any]:
    """bitsandbytes on CUDA, and for 4 bits on the CPU, which torchao's int4 does not run on; torchao's
    weight-only int8 there, which needs nothing more.
    """
    if placement.bits is None:
        return {}
    kind = (placement.device.type, placement.bits)
    if kind == ("cpu", "8bit"):
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        return {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
    if kind in (("cpu", "4bit"), ("cuda", "4bit"), ("cuda", "8bit")):
        return {"quantization_config": _bitsandbytes(placement)}
    raise errors.unsupported(f"{placement.bits} SafeTensors models on {placement.device.type}")


def _bitsandbytes(placement: Placement) -> object:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise errors.unsupported(f"{placement.bits} on {placement.device.type}", "bitsandbytes")
    # Where this package is installed, bitsandbytes would fetch native code from the hub by it, and run that.
    sys.modules["kernels"] = None  # type: ignore[assignment]  # how Python is told that there is none
    from transformers import BitsAndBytesConfig

    if placement.bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=placement.dtype
    )


def _split(placement: Placement, options: LoadOptions) -> dict[str, Any]:
    """accelerate spreads a model over devices within `max_memory`."""
    limit = options.max_memory
    if limit is None:
        return {"device_map": {"": placement.device}} if placement.bits else {}
    if isinstance(limit, int):
        limit = {_accelerate_name(placement.device): limit}
    return {"device_map": "auto", "max_memory": {_number(name): size for name, size in limit.items()}}


def _accelerate_name(device: torch.device) -> str:
    return f"cuda:{device.index or 0}" if device.type == "cuda" else device.type


def _number(name: str) -> str | int:
    """accelerate calls CUDA's devices by number."""
    return int(name.partition(":")[2] or 0) if name.startswith("cuda") else name


def memory_of(model: PreTrainedModel) -> int:
    """Bytes that the weights take, quantized ones as they are."""
    tensors = {id(each): each for each in (*model.parameters(), *model.buffers())}
    for each in list(tensors.values()):
        scales = getattr(getattr(each, "quant_state", None), "absmax", None)  # bitsandbytes keeps them beside
        if scales is not None:
            tensors[id(scales)] = scales
    return sum(_bytes(each) for each in tensors.values())


def _bytes(tensor: torch.Tensor) -> int:
    if hasattr(tensor, "__tensor_flatten__"):  # a tensor of parts, as torchao's are
        parts, _ = tensor.__tensor_flatten__()
        return sum(_bytes(getattr(tensor, part)) for part in parts)
    return tensor.numel() * tensor.element_size()


@contextlib.contextmanager
def _reported(progress: Progress, total: int) -> Iterator[None]:
    """Tell how much has arrived, by this process's memory. A load that hangs is one without progress."""
    process = psutil.Process()
    before = process.memory_info().rss
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            arrived = (process.memory_info().rss - before) / max(total, 1)
            progress(_BEFORE + (0.99 - _BEFORE) * min(max(arrived, 0.0), 1.0))

    progress(_BEFORE)
    watcher = threading.Thread(target=watch, name="load-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    progress(1.0)


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except RpcError:
        raise
    except (MemoryError, torch.OutOfMemoryError):
        available = psutil.virtual_memory().available
        raise errors.insufficient_memory(weights_bytes(folder), available) from None
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the files, transformers raises all kinds
        raise errors.invalid_model_file(str(folder), f"cannot be loaded: {error}") from None
