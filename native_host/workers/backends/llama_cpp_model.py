"""A model and its context by llama-cpp-python's C interface, on the same runtime pack as `gguf`.

`tabagent_model` opens the pack first: its guard checks the manifest and the sha256 of every file, loads the
libraries and the CPU module that suits this machine. llama-cpp-python is pointed at the very same file, so
that the system's loader hands it the library that is open already, and it never gets one that was refused.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
from pathlib import Path
from types import ModuleType

import tabagent_model

from native_host.protocol import errors
from native_host.workers.backends import Progress
from native_host.workers.backends.batching import LONGEST_CONTEXT, Span, Vocabulary
from native_host.workers.backends.gguf import translated
from native_host.workers.messages import LoadOptions

VERSION = "0.3.36"
"""The release whose struct layouts the pack has (`scripts/build_runtime.py` builds it from its sources)."""
EXTRA = "native-host[llama-cpp]"
BATCH = 512
"""Most tokens of a step."""


def open_texts(path: str) -> tabagent_model.PyModel:
    """The model's tokenizer and chat template; the file is checked, and the pack is open after it."""
    texts = tabagent_model.PyModel()
    with translated(path):
        texts.load(tabagent_model.get_optimal_binary("libllama.so"), path, vocab_only=True)
    return texts


def open_library() -> ModuleType:
    """llama-cpp-python's C interface, on the pack that is open. Raises unsupported."""
    try:
        found = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        raise errors.unsupported("the backend 'llama_cpp'", EXTRA) from None
    if found != VERSION:
        raise errors.unsupported(f"llama-cpp-python {found}: the runtime pack is that of {VERSION}", EXTRA)
    os.environ["LLAMA_CPP_LIB_PATH"] = str(Path(tabagent_model.get_optimal_binary("libllama.so")).parent)
    import llama_cpp.llama_cpp as library
    from llama_cpp._logger import set_verbose

    set_verbose(False)  # it would print to stderr what matters to nobody
    return library


class LlamaCppModel:
    """A loaded model whose context has `parallel` sequences of `context_length` tokens each. What the engine
    computes by (`Forward`); one thread at a time."""

    def __init__(self, path: str, options: LoadOptions, progress: Progress) -> None:
        self.texts = open_texts(path)
        self._library = open_library()
        trained = self.texts.context_train_size() or LONGEST_CONTEXT
        self.context_length = options.context_length or min(trained, LONGEST_CONTEXT)
        self.parallel = options.parallel or 1
        self._model = self._load(path, options, progress)
        self._context = self._new_context(path, options)
        self._memory = self._library.llama_get_memory(self._context)
        self._batch = self._library.llama_batch_init(BATCH, 0, 1)
        self._row_bytes = self.texts.vocab_size() * ctypes.sizeof(ctypes.c_float)

    def _load(self, path: str, options: LoadOptions, progress: Progress) -> ctypes.c_void_p:
        library = self._library

        def go_on(fraction: float, _: object) -> bool:
            progress(fraction)
            return True

        if options.gpu_layers and not library.llama_supports_gpu_offload():
            raise errors.unsupported(
                "gpu_layers without a GPU that the runtime pack can use (native-host doctor says why)"
            )
        params = library.llama_model_default_params()
        params.n_gpu_layers = options.gpu_layers
        params.load_mode = (
            library.LLAMA_LOAD_MODE_MMAP_MLOCK if options.mlock else library.LLAMA_LOAD_MODE_MMAP
        )
        params.progress_callback = library.llama_progress_callback(go_on)
        model: ctypes.c_void_p | None = library.llama_model_load_from_file(os.fsencode(path), params)
        if model is None:
            raise errors.model_load_failed(path, "llama.cpp refused the file; the log has its words")
        return model

    def _new_context(self, path: str, options: LoadOptions) -> ctypes.c_void_p:
        library = self._library
        threads = options.threads or tabagent_model.get_cpu_info()["physical_cores"]
        params = library.llama_context_default_params()
        params.n_ctx = self.context_length * self.parallel
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = self.parallel
        params.n_threads = params.n_threads_batch = threads
        params.type_k = params.type_v = getattr(library, f"GGML_TYPE_{(options.kv_type or 'f16').upper()}")
        params.flash_attn_type = {
            "auto": library.LLAMA_FLASH_ATTN_TYPE_AUTO,
            "on": library.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": library.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }[options.flash_attention]
        context: ctypes.c_void_p | None = library.llama_init_from_model(self._model, params)
        if context is None:
            library.llama_model_free(self._model)
            raise errors.model_load_failed(path, "llama.cpp made no context; the log has its words")
        return context

    def vocabulary(self) -> Vocabulary:
        """What the engine must know of the model's tokens."""
        library = self._library
        vocab = library.llama_model_get_vocab(self._model)
        tokens = range(self.texts.vocab_size())
        return Vocabulary(
            [_piece(library, vocab, token) for token in tokens],
            frozenset(token for token in tokens if library.llama_vocab_is_control(vocab, token)),
            frozenset(token for token in tokens if library.llama_vocab_is_eog(vocab, token)),
        )

    def prefix_reuse(self) -> bool:
        """Whether a part of a sequence can be cut off: not with recurrent states or sliding windows."""
        library = self._library
        special = library.llama_model_is_recurrent(self._model) or library.llama_model_is_hybrid(self._model)
        return not special and library.llama_model_n_swa(self._model) == 0

    def decode(self, spans: list[Span]) -> bytes:
        """See `batching.Forward`."""
        batch, count, wanted_rows = self._batch, 0, []
        for sequence, start, tokens, wanted in spans:
            self.cut(sequence, start)
            for offset, token in enumerate(tokens):
                batch.token[count] = token
                batch.pos[count] = start + offset
                batch.n_seq_id[count] = 1
                batch.seq_id[count][0] = sequence
                batch.logits[count] = output = offset >= len(tokens) - wanted
                if output:
                    wanted_rows.append(count)
                count += 1
        batch.n_tokens = count
        code = self._library.llama_decode(self._context, batch)
        if code != 0:
            raise RuntimeError(f"llama_decode answered {code}")
        return b"".join(self._row(index) for index in wanted_rows)

    def _row(self, index: int) -> bytes:
        return ctypes.string_at(self._library.llama_get_logits_ith(self._context, index), self._row_bytes)

    def cut(self, sequence: int, length: int) -> None:
        """See `batching.Forward`."""
        if not self._library.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise RuntimeError(f"sequence {sequence} cannot be cut at {length}")

    def close(self) -> None:
        """Free everything. Not to be used any more."""
        self._library.llama_batch_free(self._batch)
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)
        self.texts.unload()


def _piece(library: ModuleType, vocab: ctypes.c_void_p, token: int, room: int = 64) -> bytes:
    """The bytes that a token stands for; of a control token its name."""
    buffer = ctypes.create_string_buffer(room)
    length = library.llama_token_to_piece(vocab, token, buffer, room, 0, True)
    return buffer.raw[:length] if length >= 0 else _piece(library, vocab, token, -length)
