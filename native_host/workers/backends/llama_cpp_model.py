"""A model and its context by llama-cpp-python's C interface, on the same runtime pack as `gguf`.

`tabagent_model` opens the pack first: its guard checks the manifest and the sha256 of every file, loads the
libraries and the CPU module that suits this machine. llama-cpp-python is pointed at the very same file, so
that the system's loader hands it the library that is open already, and it never gets one that was refused.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import math
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import tabagent_model

from native_host.protocol import errors
from native_host.workers.backends import BackendUnusableError, Progress
from native_host.workers.backends.gguf import translated
from native_host.workers.messages import GenerateRequest, LoadOptions, TokenInfo, TopToken

VERSION = "0.3.36"
"""The release whose struct layouts the pack has (`scripts/build_runtime.py` builds it from its sources)."""
BATCH = 256
"""Tokens of a prompt that are computed between two looks at what was cancelled."""
LONGEST_BY_DEFAULT = 8192
_PENALTY_WINDOW = 64
_LOGPROB_FLOOR = -9999.0
_SEEDS = 2**32 - 1
"""llama.cpp's seeds; the one after the last means a random one."""


def open_vocabulary(path: str) -> tabagent_model.PyModel:
    """The model's tokenizer and chat template; the file is checked, and the pack is open after it."""
    vocabulary = tabagent_model.PyModel()
    with translated(path):
        vocabulary.load(tabagent_model.get_optimal_binary("libllama.so"), path, vocab_only=True)
    return vocabulary


def open_library() -> ModuleType:
    """llama-cpp-python's C interface on the pack that is open. Raises unsupported."""
    try:
        found = importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        raise errors.unsupported("the backend 'llama_cpp'", "native-host[llama-cpp]") from None
    if found != VERSION:
        raise errors.unsupported(
            f"llama-cpp-python {found}: the runtime pack has the layouts of {VERSION}",
            "native-host[llama-cpp]",
        )
    os.environ["LLAMA_CPP_LIB_PATH"] = str(Path(tabagent_model.get_optimal_binary("libllama.so")).parent)
    import llama_cpp.llama_cpp as library
    from llama_cpp._logger import set_verbose

    set_verbose(False)
    return library


class LlamaCppModel:
    """One model with one sequence of KV cache. Only one thread may use it at a time."""

    def __init__(self, path: str, options: LoadOptions, progress: Progress) -> None:
        self.vocabulary = open_vocabulary(path)
        facts = self.vocabulary.info()
        self._library = open_library()
        self.context_length = options.context_length or min(
            facts["context_train_size"] or LONGEST_BY_DEFAULT, LONGEST_BY_DEFAULT
        )
        self.vocab_size: int = facts["vocab_size"]
        self._model = self._load(path, options, progress)
        self._context = self._new_context(path, options)
        self._memory = self._library.llama_get_memory(self._context)
        self._vocab = self._library.llama_model_get_vocab(self._model)
        self.ends = frozenset(
            token for token in range(self.vocab_size) if self._library.llama_vocab_is_eog(self._vocab, token)
        )
        self._computed: list[int] = []
        self._owner: int | None = None
        self.user: object = None
        """Whose tokens the KV cache holds."""

    def _load(self, path: str, options: LoadOptions, progress: Progress) -> ctypes.c_void_p:
        library = self._library

        def go_on(fraction: float, _: object) -> bool:
            progress(fraction)
            return True

        params = library.llama_model_default_params()
        params.n_gpu_layers = options.gpu_layers
        params.load_mode = (
            library.LLAMA_LOAD_MODE_MMAP_MLOCK if options.mlock else library.LLAMA_LOAD_MODE_MMAP
        )
        params.progress_callback = callback = library.llama_progress_callback(go_on)
        model: ctypes.c_void_p | None = library.llama_model_load_from_file(path.encode(), params)
        del callback  # it had to live until here
        if model is None:
            raise errors.model_load_failed(path, "llama.cpp refused the file; the log has its words")
        return model

    def _new_context(self, path: str, options: LoadOptions) -> ctypes.c_void_p:
        library = self._library
        threads = options.threads or tabagent_model.get_cpu_info()["physical_cores"]
        params = library.llama_context_default_params()
        params.n_ctx = self.context_length
        params.n_batch = params.n_ubatch = min(BATCH, self.context_length)
        params.n_seq_max = 1
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

    def take_up(self, user: object, tokens: list[int], owner: int | None) -> int:
        """Compute for `user` from now on: cut the KV cache down to what it shares with these tokens and their
        owner, and answer how much that is.

        The owner `None` shares nothing. At least the last token is left to compute, for its logits.
        """
        length = 0
        if owner is not None and owner == self._owner:
            most = min(len(self._computed), len(tokens) - 1)
            length = next((at for at in range(most) if self._computed[at] != tokens[at]), most)
        if not self._library.llama_memory_seq_rm(self._memory, 0, length, -1):
            self._library.llama_memory_clear(self._memory, True)
            length = 0
        del self._computed[length:]
        self._owner = owner
        self.user = user
        return length

    @property
    def computed(self) -> int:
        """How many tokens the KV cache holds."""
        return len(self._computed)

    def compute(self, tokens: list[int]) -> None:
        """Compute the next tokens, at most BATCH of them. Raises BackendUnusableError."""
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        code = self._library.llama_decode(
            self._context, self._library.llama_batch_get_one(array, len(tokens))
        )
        if code != 0:
            raise BackendUnusableError(f"llama_decode answered {code}")
        self._computed += tokens

    def logits(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """Of the token after those computed last: as many numbers as the vocabulary has."""
        row = self._library.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(row, shape=(self.vocab_size,))

    def sampler(self, request: GenerateRequest, prompt: list[int]) -> Sampler:
        """A sampler for one request, which has seen its prompt."""
        return Sampler(self._library, self._context, self.vocab_size, self.ends, request, prompt)

    def close(self) -> None:
        """Free everything. Not to be used any more."""
        self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)
        self.vocabulary.unload()


class Sampler:
    """llama.cpp's own samplers, in the order of the engine: bias, penalties, top-k, top-p, min-p,
    temperature, a draw; at temperature 0 the largest logit.
    """

    def __init__(
        self,
        library: ModuleType,
        context: ctypes.c_void_p,
        vocab_size: int,
        ends: frozenset[int],
        request: GenerateRequest,
        prompt: list[int],
    ) -> None:
        self._library = library
        self._context = context
        self._chain = library.llama_sampler_chain_init(library.llama_sampler_chain_default_params())
        bias = dict(request.logit_bias)
        if request.ignore_eos:
            bias.update(dict.fromkeys(ends, -math.inf))
        if bias:
            pairs = (library.llama_logit_bias * len(bias))(*bias.items())
            self._add(library.llama_sampler_init_logit_bias(vocab_size, len(bias), pairs))
        if (request.repeat_penalty, request.presence_penalty, request.frequency_penalty) != (1.0, 0.0, 0.0):
            self._add(
                library.llama_sampler_init_penalties(
                    vocab_size,
                    _PENALTY_WINDOW,
                    request.repeat_penalty,
                    request.frequency_penalty,
                    request.presence_penalty,
                )
            )
        if request.temperature == 0.0:
            self._add(library.llama_sampler_init_greedy())
        else:
            self._add(library.llama_sampler_init_top_k(request.top_k))
            self._add(library.llama_sampler_init_top_p(request.top_p, 1))
            self._add(library.llama_sampler_init_min_p(request.min_p, 1))
            self._add(library.llama_sampler_init_temp(request.temperature))
            self._add(library.llama_sampler_init_dist(request.seed % _SEEDS))
        for token in prompt[-_PENALTY_WINDOW:]:
            library.llama_sampler_accept(self._chain, token)

    def _add(self, sampler: ctypes.c_void_p) -> None:
        self._library.llama_sampler_chain_add(self._chain, sampler)

    def sample(self) -> int:
        """The next token, chosen from the logits computed last."""
        return int(self._library.llama_sampler_sample(self._chain, self._context, -1))

    def close(self) -> None:
        """Free it."""
        self._library.llama_sampler_free(self._chain)


def described(
    token: int,
    logits: np.ndarray[tuple[int], np.dtype[np.float32]],
    count: int,
    vocabulary: tabagent_model.PyModel,
) -> TokenInfo:
    """A token with its log-probability, and the `count` likeliest, best first (ties: lowest token first)."""
    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs = np.maximum(shifted - np.log(np.exp(shifted).sum()), _LOGPROB_FLOOR)
    best = np.argsort(-logprobs, kind="stable")[:count]

    def text(of: int) -> str:
        return vocabulary.detokenize([of]).decode("utf-8", "replace")

    top = [TopToken(int(each), text(int(each)), float(logprobs[each])) for each in best]
    return TokenInfo(token, text(token), float(logprobs[token]), top)
