"""ggml's flash attention as one CPU module of the pack computes it, called through ctypes.

Only for a process of its own: a module that is loaded stays, and every llama.cpp in the process would use it.
"""

from __future__ import annotations

import ctypes
import math
from ctypes import c_bool, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import quantize
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """What attention is computed of."""

    queries: Floats
    """[streams, tokens, heads, dk]"""
    keys: Floats
    """[streams, cells, kv_heads, dk]"""
    values: Floats
    """[streams, cells, kv_heads, dv]"""
    mask: NDArray[np.float16] | None = None
    """[streams, tokens, cells], added to the scores; minus infinity hides a cell."""
    sinks: Floats | None = None
    """[heads]"""
    key_type: GGMLQuantizationType = GGMLQuantizationType.F16
    value_type: GGMLQuantizationType = GGMLQuantizationType.F16
    max_bias: float = 0.0
    softcap: float = 0.0

    @property
    def scale(self) -> float:
        size: int = self.queries.shape[-1]
        return 1 / math.sqrt(size)


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


_SIGNATURES = {
    "ggml_init": (c_void_p, _InitParams),
    "ggml_free": (None, c_void_p),
    "ggml_new_tensor_4d": (c_void_p, c_void_p, c_int, c_int64, c_int64, c_int64, c_int64),
    "ggml_permute": (c_void_p, c_void_p, c_void_p, c_int, c_int, c_int, c_int),
    "ggml_flash_attn_ext": (
        c_void_p,
        *(c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
        *(c_float, c_float, c_float),
    ),
    "ggml_flash_attn_ext_add_sinks": (None, c_void_p, c_void_p),
    "ggml_new_graph": (c_void_p, c_void_p),
    "ggml_build_forward_expand": (None, c_void_p, c_void_p),
    "ggml_backend_alloc_ctx_tensors": (c_void_p, c_void_p, c_void_p),
    "ggml_backend_buffer_free": (None, c_void_p),
    "ggml_backend_tensor_set": (None, c_void_p, c_char_p, c_size_t, c_size_t),
    "ggml_backend_tensor_get": (None, c_void_p, c_void_p, c_size_t, c_size_t),
    "ggml_backend_graph_compute": (c_int, c_void_p, c_void_p),
    "ggml_backend_reg_dev_get": (c_void_p, c_void_p, c_size_t),
    "ggml_backend_dev_init": (c_void_p, c_void_p, c_char_p),
    "ggml_backend_reg_get_proc_address": (c_void_p, c_void_p, c_char_p),
}


class CpuModule:
    """A CPU module of a pack."""

    def __init__(self, file: Path) -> None:
        self._ggml = ctypes.CDLL(str(next(file.parent.glob("*ggml-base.*"))))
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(self._ggml, name)
            function.restype = result
            function.argtypes = arguments
        loader = ctypes.CDLL(str(file.parent / file.name.replace(f"-cpu-{_variant(file)}", "")))
        loader.ggml_backend_load.restype = c_void_p
        loader.ggml_backend_load.argtypes = [c_char_p]
        module = loader.ggml_backend_load(str(file).encode())
        assert module is not None, f"{file} does not load"
        device = self._ggml.ggml_backend_reg_dev_get(module, 0)
        self._backend = self._ggml.ggml_backend_dev_init(device, None)
        find = self._ggml.ggml_backend_reg_get_proc_address
        self._set_threads = ctypes.CFUNCTYPE(None, c_void_p, c_int)(
            find(module, b"ggml_backend_set_n_threads")
        )

    def attention(self, inputs: Inputs, threads: int) -> Floats:
        """[streams, tokens, heads, dv]"""
        ggml = self._ggml
        context = ggml.ggml_init(_InitParams(1 << 20, None, True))
        written: list[tuple[int, bytes]] = []

        def tensor(values: NDArray[np.generic], kind: GGMLQuantizationType) -> int:
            sizes = [1] * (4 - values.ndim) + list(values.shape)
            made: int = ggml.ggml_new_tensor_4d(context, kind.value, *reversed(sizes))
            written.append((made, bytes_of(values, kind)))
            return made

        def heads_outside(values: Floats, kind: GGMLQuantizationType) -> int:
            made: int = ggml.ggml_permute(context, tensor(values, kind), 0, 2, 1, 3)
            return made

        kinds = GGMLQuantizationType
        queries = heads_outside(inputs.queries, kinds.F32)
        keys = heads_outside(inputs.keys, inputs.key_type)
        values = heads_outside(inputs.values, inputs.value_type)
        mask = None if inputs.mask is None else tensor(inputs.mask[:, None], kinds.F16)
        result = ggml.ggml_flash_attn_ext(
            context, queries, keys, values, mask, inputs.scale, inputs.max_bias, inputs.softcap
        )
        if inputs.sinks is not None:
            ggml.ggml_flash_attn_ext_add_sinks(result, tensor(inputs.sinks, kinds.F32))
        graph = ggml.ggml_new_graph(context)
        ggml.ggml_build_forward_expand(graph, result)
        buffer = ggml.ggml_backend_alloc_ctx_tensors(context, self._backend)
        for made, content in written:
            ggml.ggml_backend_tensor_set(made, content, 0, len(content))
        self._set_threads(self._backend, threads)
        assert ggml.ggml_backend_graph_compute(self._backend, graph) == 0
        out = np.empty((*inputs.queries.shape[:3], inputs.values.shape[-1]), np.float32)
        ggml.ggml_backend_tensor_get(result, out.ctypes.data, 0, out.nbytes)
        ggml.ggml_backend_buffer_free(buffer)
        ggml.ggml_free(context)
        return out


def bytes_of(values: NDArray[np.generic], kind: GGMLQuantizationType) -> bytes:
    if values.dtype == np.float16:
        return values.tobytes()
    return quantize(np.ascontiguousarray(values, np.float32), kind).tobytes()


def _variant(file: Path) -> str:
    return file.name.split("-cpu-")[1].split(".")[0]
