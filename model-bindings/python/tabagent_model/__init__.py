"""Hardware detection and GGUF models: Rust and llama.cpp under a small Python face.

The work is done in `_native`, the Rust extension. This package adds what belongs to Python: `async` methods,
and where the runtime that came with it lies.
"""

from __future__ import annotations

import atexit as _atexit
from pathlib import Path as _Path

from . import _native
from ._model import PyModel
from ._native import (
    AbiMismatchError,
    ChatTemplate,
    ContextOverflowError,
    Engine,
    HostedEngine,
    InferenceError,
    InsufficientMemoryError,
    InvalidArgumentError,
    InvalidGgufError,
    LibraryNotFoundError,
    LoadCancelledError,
    LoadError,
    ModelFileNotFoundError,
    NotLoadedError,
    Stream,
    TabagentError,
    TemplateError,
    UnsupportedError,
    __version__,
    estimate_memory,
    explain_binary,
    get_cpu_info,
    get_cpu_variant,
    get_gpu_info,
    get_memory_info,
    get_optimal_binary,
    inspect_gguf,
    quantize_gguf,
    render_template,
    set_log_callback,
)

__all__ = [
    "AbiMismatchError",
    "ChatTemplate",
    "ContextOverflowError",
    "Engine",
    "HostedEngine",
    "InferenceError",
    "InsufficientMemoryError",
    "InvalidArgumentError",
    "InvalidGgufError",
    "LibraryNotFoundError",
    "LoadCancelledError",
    "LoadError",
    "ModelFileNotFoundError",
    "NotLoadedError",
    "PyModel",
    "Stream",
    "TabagentError",
    "TemplateError",
    "UnsupportedError",
    "__version__",
    "estimate_memory",
    "explain_binary",
    "get_cpu_info",
    "get_cpu_variant",
    "get_gpu_info",
    "get_memory_info",
    "get_optimal_binary",
    "inspect_gguf",
    "quantize_gguf",
    "render_template",
    "set_log_callback",
]

_native.set_pack_directory(str(_Path(__file__).parent / "runtime"))
_atexit.register(_native.stop_all)
