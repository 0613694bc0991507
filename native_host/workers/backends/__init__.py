"""What a worker needs of a model, whatever its format: the Backend protocol, and who implements it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from native_host.protocol import errors
from native_host.workers.messages import (
    EmbedRequest,
    EmbedResult,
    Event,
    GenerateRequest,
    LoadOptions,
    ModelInfo,
    RerankRequest,
    RerankResult,
    TemplateRequest,
)


class BackendUnusableError(Exception):
    """The model's engine failed for good: the worker must end, and the next request gets a new one."""


Cancelled = Callable[[], bool]
"""Whether a request has been cancelled; cheap enough to be asked between batches."""


class Backend(Protocol):
    """One loaded model. Every method but `drain`, `cancel`, `pause`, `resume` and `fileno` may block; they
    run off the event loop: `embed` and `rerank` on a thread of their own, one at a time, the others on
    another.

    All of them raise RpcError, and nothing else, for what the caller did wrong or the machine cannot do.
    """

    @property
    def info(self) -> ModelInfo:
        """What the model is."""

    def submit(self, request_id: int, request: GenerateRequest) -> None:
        """Queue a request; its events carry `request_id`."""

    def cancel(self, request_id: int) -> None:
        """End a request by the end of the step; unknown ids are ignored."""

    def pause(self, request_id: int) -> None:
        """Compute no more of a request for now; unknown ids are ignored."""

    def resume(self, request_id: int) -> None:
        """Go on with a paused request; unknown ids are ignored."""

    def drain(self) -> list[Event]:
        """Everything that happened since the last call, in order."""

    def fileno(self) -> int | None:
        """A descriptor that is readable while events wait; `None` for a model that has no events because it
        cannot generate.
        """

    def embed(self, request: EmbedRequest, cancelled: Cancelled) -> EmbedResult:
        """A vector for each text. Raises unsupported for a model that has none to give, and `cancelled` soon
        after the request was cancelled.
        """

    def rerank(self, request: RerankRequest, cancelled: Cancelled) -> RerankResult:
        """How well each document answers the query. Raises as `embed` does."""

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Text to token ids."""

    def detokenize(self, tokens: list[int]) -> str:
        """Token ids to text."""

    def apply_template(self, request: TemplateRequest) -> str:
        """The prompt that the model's own chat template makes of a conversation."""

    def close(self) -> None:
        """Free the model."""


Progress = Callable[[float], None]
"""Told how much is loaded, 0 to 1."""

Opener = Callable[[str, LoadOptions, Progress], Backend]
"""Opens the model at a path (it blocks); raises RpcError."""


def _open_gguf(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.gguf import (
        GgufBackend,
    )  # the native module: a worker's import, not a host's

    return GgufBackend.open(path, options, progress)


def _open_llama_cpp(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.llama_cpp import LlamaCppBackend

    return LlamaCppBackend.open(path, options, progress)


def _open_llama_server(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.llama_server import LlamaServerBackend

    return LlamaServerBackend.open(path, options, progress)


def _open_transformers(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.transformers.opening import open_folder  # seconds of imports

    return open_folder(path, options, progress)


def _open_ollama(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.ollama import OllamaBackend

    return OllamaBackend.open(path, options, progress)


def _open_onnx(path: str, options: LoadOptions, progress: Progress) -> Backend:
    from native_host.workers.backends.onnx.opening import open_folder  # onnxruntime: a worker's import

    return open_folder(path, options, progress)


OPENERS: dict[str, Opener] = {
    "gguf": _open_gguf,
    "llama_cpp": _open_llama_cpp,
    "llama_server": _open_llama_server,
    "transformers": _open_transformers,
    "ollama": _open_ollama,
    "onnx": _open_onnx,
}
"""The backends of this release by name."""


def opener(name: str, openers: dict[str, Opener]) -> Opener:
    """The backend of this name. Raises unsupported."""
    found = openers.get(name)
    if found is None:
        raise errors.unsupported(f"the backend {name!r}", None)
    return found
