"""What the Rust extension offers. Lengths are in tokens and sizes in bytes where not said otherwise."""

from collections.abc import Callable
from os import PathLike
from types import TracebackType
from typing import Any, Final, Literal, Protocol, final, overload

from typing_extensions import Self, Unpack, disjoint_base

from tabagent_model.types import (
    Candidate,
    CpuInfo,
    Event,
    GgufFacts,
    GpuInfo,
    MemoryEstimate,
    MemoryInfo,
    Message,
    ModelFacts,
    Sampling,
    Scores,
    Stats,
    TemplateOption,
    Timings,
    Usage,
    Vectors,
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
    "set_pack_directory",
    "stop_all",
]

__version__: Final[str]

class TabagentError(RuntimeError):
    """Anything that this package refuses or fails to do."""

class LoadError(TabagentError):
    """A model cannot be loaded."""

class ModelFileNotFoundError(LoadError, FileNotFoundError):
    """There is no such model file."""

class InvalidGgufError(LoadError):
    """The model file is no sound GGUF file, or holds no model that can be run."""

class LibraryNotFoundError(LoadError, FileNotFoundError):
    """There is no llama.cpp library at that path, or none at all."""

class AbiMismatchError(LoadError):
    """The library is not one that this package was built for, so opening it would not be safe."""

class InsufficientMemoryError(LoadError):
    """There is not enough memory for the model or its context."""

class LoadCancelledError(LoadError):
    """The progress function said no."""

class NotLoadedError(TabagentError):
    """No model is loaded (any more)."""

class InvalidArgumentError(TabagentError, ValueError):
    """An argument is outside of what is possible."""

class ContextOverflowError(TabagentError):
    """The prompt does not fit the context."""

    tokens: int
    limit: int

class TemplateError(TabagentError):
    """The chat template cannot be rendered."""

class InferenceError(TabagentError):
    """Computing failed."""

class UnsupportedError(TabagentError):
    """A model of this kind cannot do what is asked."""

@final
class Stream:
    """The pieces of an answer as they are generated. Letting go of it cancels what is left."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> str: ...
    def cancel(self) -> None:
        """End the generation; nothing more comes."""

    def poll(self) -> list[str]:
        """Pieces that have come since the last call, without waiting."""

    def pump(self) -> None:
        """Sort whatever the engine has to say, for all streams of this model; calls `on_ready` callbacks."""

    def on_ready(self, callback: Callable[[], object] | None, /) -> None:
        """Set what is called when there is something to poll, in whichever thread finds out."""

    def fileno(self) -> int:
        """A descriptor that is readable while the engine has something to say; then call `pump`."""

    @property
    def done(self) -> bool:
        """Whether the generation has ended and all its pieces are fetched from the engine."""

    @property
    def finish_reason(self) -> Literal["stop", "length", "cancelled"] | None:
        """None before the end."""

    @property
    def usage(self) -> Usage | None:
        """None before the end."""

    @property
    def timings(self) -> Timings | None:
        """None before the end."""

    @property
    def seed(self) -> int | None:
        """The seed that was used; None before the end."""

@disjoint_base
class PyModel:
    """A language model in a GGUF file, run by llama.cpp.

    Every method but `load`, `unload` and `loaded` raises NotLoadedError while none is loaded.
    """

    def __new__(cls) -> Self: ...
    def load(
        self,
        dll_path: str | PathLike[str],
        model_path: str | PathLike[str],
        gpu_layers: int = 0,
        mlock: bool = False,
        *,
        vocab_only: bool = False,
        context_length: int | None = None,
        threads: int | None = None,
        kv_type: str = "f16",
        flash_attention: Literal["auto", "on", "off"] | bool | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> None:
        """Load a model; one that was loaded before is let go first.

        `context_length`: tokens in the longest sequence, prompt and answer together (by default what the
        model was trained for, at most 8192). `threads`: by default one a
        physical core, less one while decoding. `progress` gets
        fractions from 0 to 1; answering False stops the load.

        Raises a LoadError of the fitting kind, InvalidArgumentError, or what `progress` raised.
        """

    def unload(self) -> None:
        """Free the model; what it was generating is cancelled. Can be called twice."""

    @property
    def loaded(self) -> bool:
        """Whether a model is loaded."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: type[BaseException] | BaseException | TracebackType | None) -> None: ...
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary."""

    def context_train_size(self) -> int:
        """Context length in tokens that the model was trained with."""

    def embedding_dim(self) -> int:
        """Size of an embedding vector."""

    def token_bos(self) -> int:
        """Id of the beginning-of-text token; -1 where the model has none."""

    def token_eos(self) -> int:
        """Id of the end-of-text token; -1 where the model has none."""

    def token_nl(self) -> int:
        """Id of the newline token; -1 where the model has none."""

    def info(self) -> ModelFacts:
        """Facts of the loaded model."""

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Text into tokens. `add_special` adds what the model wants at the beginning (and end) of a text;
        `parse_special` reads control tokens written out in the text."""

    def detokenize(self, tokens: list[int]) -> bytes:
        """Tokens into bytes, exactly those that the text had. Control tokens render as nothing."""

    def apply_template(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        documents: list[dict[str, Any]] | None = None,
        **options: TemplateOption,
    ) -> str:
        """A conversation as the model's chat template writes it (ChatML for a model without one). `options`
        are switches of the template by their names, such as `enable_thinking`: whatever JSON can hold.

        Raises TemplateError where the template fails, refuses the conversation or exceeds its limits.
        """

    def prompt_pieces(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        documents: list[dict[str, Any]] | None = None,
        **options: TemplateOption,
    ) -> list[tuple[str, bool]]:
        """As `apply_template`, in stretches: text, and whether control tokens that are written in it are
        meant. What messages, tools and documents hold is text: where none of it looks like a control token,
        there is one stretch."""

    def tokenize_prompt(self, pieces: list[tuple[str, bool]]) -> list[int]:
        """The tokens of a prompt in stretches. The beginning of text is added only where it is missing."""

    def generate(self, prompt: str | list[int], max_tokens: int = 512, **options: Unpack[Sampling]) -> str:
        """Continue a prompt.

        Raises InvalidArgumentError, ContextOverflowError, InferenceError, or KeyboardInterrupt.
        """

    @overload
    def stream(
        self,
        prompt: str | list[int],
        max_tokens: int = 512,
        *,
        callback: None = None,
        **options: Unpack[Sampling],
    ) -> Stream: ...
    @overload
    def stream(
        self,
        prompt: str | list[int],
        max_tokens: int = 512,
        *,
        callback: Callable[[str], object],
        **options: Unpack[Sampling],
    ) -> str:
        """Continue a prompt piece by piece: an iterator, or calls of `callback` and then the whole text.

        A callback that answers False ends the generation.
        """

    def embed(self, texts: list[str], normalize: bool = True) -> list[list[float]]:
        """A vector for each text, as `Engine.embed` gives them."""

    def score(self, query: str, documents: list[str]) -> list[float]:
        """How well each document answers a query, as `Engine.score` says it."""

    def chat(
        self,
        messages: list[Message],
        max_tokens: int = 512,
        *,
        tools: list[dict[str, Any]] | None = None,
        **options: Unpack[Sampling],
    ) -> str:
        """Answer a conversation, written with the model's own chat template."""

    @overload
    def stream_chat(
        self,
        messages: list[Message],
        max_tokens: int = 512,
        *,
        tools: list[dict[str, Any]] | None = None,
        callback: None = None,
        **options: Unpack[Sampling],
    ) -> Stream: ...
    @overload
    def stream_chat(
        self,
        messages: list[Message],
        max_tokens: int = 512,
        *,
        tools: list[dict[str, Any]] | None = None,
        callback: Callable[[str], object],
        **options: Unpack[Sampling],
    ) -> str:
        """Answer a conversation piece by piece, as `stream` does."""

@final
class Engine:
    """A loaded model behind a queue of requests: for servers. Any thread may call it; one should drain it."""

    def __new__(
        cls,
        model_path: str | PathLike[str],
        *,
        dll_path: str | PathLike[str] | None = None,
        context_length: int | None = None,
        threads: int | None = None,
        gpu_layers: int = 0,
        mlock: bool = False,
        parallel: int = 1,
        kv_cache_tokens: int | None = None,
        kv_type: str = "f16",
        flash_attention: Literal["auto", "on", "off"] | bool | None = None,
        speculation: bool = True,
        spill_bytes: int | None = None,
        adapters: list[tuple[str, str | PathLike[str], float]] | None = None,
        progress: Callable[[float], object] | None = None,
    ) -> Self:
        """Load a model.

        Up to `parallel` requests are computed together. They share `kv_cache_tokens` tokens of KV cache (by
        default one `context_length`), and no sequence can be longer than that. With `speculation` a step
        also computes guesses at the next tokens, taken from the request's own text, as long as that makes
        answers come faster; the answers are the same without it.

        Prefixes that leave the KV cache for others, and requests that give way, wait in up to `spill_bytes`
        bytes of main memory and are copied back instead of computed anew (by default 0: never).

        `adapters`: LoRA adapters, each as (name, GGUF file, scale), that requests may choose by name; what a
        request says multiplies the scale. Requests with the same adapters are computed together, others in
        turns.
        """

    def submit(self, prompt: str | list[int], *, max_tokens: int = 512, **options: Unpack[Sampling]) -> int:
        """Queue a generation and answer its number, which its events carry.

        Raises InvalidArgumentError or ContextOverflowError; InferenceError when the queue is full.
        """

    def cancel(self, request: int) -> bool:
        """End a generation; its last event is still to come. False if there is no such one any more."""

    def pause(self, request: int) -> bool:
        """Leave a generation out of batches until `resume`, for readers that are behind.

        It keeps its place, and its KV cache as long as others do not need the room. Text of a step that is
        being computed may still come. False if there is no such one any more.
        """

    def resume(self, request: int) -> bool:
        """Go on with a generation where it was paused. False if there is no such one any more."""

    def drain(self) -> list[Event]:
        """Every event since the last call, in order. Never blocks."""

    def fileno(self) -> int:
        """A descriptor that is readable while events wait."""

    def stats(self) -> Stats:
        """What waits, what runs, and sums since the beginning."""

    def embed(
        self, texts: list[str], *, normalize: bool = True, between: Callable[[], object] | None = None
    ) -> Vectors:
        """A vector for each text, by the model's own pooling (the mean of all tokens where it has none).

        Runs on the calling thread, beside generations, one call at a time. `normalize` scales vectors to
        length 1. `between` is called before each computation; what it raises ends them. Raises
        UnsupportedError for a model that scores documents, InvalidArgumentError for an empty text,
        ContextOverflowError for one that is too long.
        """

    def score(
        self, query: str, documents: list[str], *, between: Callable[[], object] | None = None
    ) -> Scores:
        """How well each document answers a query: the first output of the model's classification head.

        Raises UnsupportedError for a model without one, and otherwise as `embed` does.
        """

    def close(self) -> None:
        """Cancel everything and free the model. Can be called twice."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *_exception: type[BaseException] | BaseException | TracebackType | None) -> None: ...
    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Text into tokens."""

    def detokenize(self, tokens: list[int]) -> bytes:
        """Tokens into bytes, exactly those that the text had."""

    def apply_template(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        documents: list[dict[str, Any]] | None = None,
        **options: TemplateOption,
    ) -> str:
        """As `PyModel.apply_template`."""

    def prompt_pieces(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        *,
        documents: list[dict[str, Any]] | None = None,
        **options: TemplateOption,
    ) -> list[tuple[str, bool]]:
        """As `PyModel.prompt_pieces`."""

    def tokenize_prompt(self, pieces: list[tuple[str, bool]]) -> list[int]:
        """As `PyModel.tokenize_prompt`."""

    def info(self) -> ModelFacts:
        """Facts of the loaded model."""

class _Forward(Protocol):
    """What `HostedEngine` has computed; called from the engine's thread only."""

    def decode(self, spans: list[tuple[int, int, list[int], int]], /) -> bytes:
        """Logits for spans of (sequence, first position, tokens, how many of the last of them want logits):
        rows of native float32, one number a token of the vocabulary."""

    def cut(self, sequence: int, length: int, /) -> None:
        """A sequence is from now on only this long."""

@final
class HostedEngine:
    """`Engine` for a model that Python computes: the same scheduling, sampling, stop strings and events."""

    def __new__(
        cls,
        forward: _Forward,
        *,
        vocabulary: list[bytes],
        control: list[int],
        end: list[int],
        context_length: int,
        parallel: int,
        batch: int = 512,
        prefix_reuse: bool = True,
        adapters: list[tuple[str, float]] | None = None,
    ) -> Self:
        """`vocabulary`: the bytes of every token; `control`: tokens that are no part of a text; `end`: tokens
        that end a generation. Up to `parallel` sequences of `context_length` tokens are computed together,
        `batch` tokens a step. `adapters`: names and scales of what requests may
        choose; the forward then has a method `use_adapters` too, which is given the (name, scale) of those
        that what follows is computed with, an empty list for none."""

    def submit(self, prompt: list[int], *, max_tokens: int = 512, **options: Unpack[Sampling]) -> int:
        """As `Engine.submit`."""

    def cancel(self, request: int) -> bool:
        """As `Engine.cancel`."""

    def pause(self, request: int) -> bool:
        """As `Engine.pause`."""

    def resume(self, request: int) -> bool:
        """As `Engine.resume`."""

    def drain(self) -> list[Event]:
        """As `Engine.drain`."""

    def fileno(self) -> int:
        """As `Engine.fileno`."""

    def stats(self) -> Stats:
        """As `Engine.stats`."""

    def close(self) -> None:
        """Cancel everything and let go of the model. Can be called twice."""

@final
class ChatTemplate:
    """A chat template with the control tokens of the model that it is for."""

    def __new__(cls, source: str, special_tokens: list[tuple[str, bool, bool, bool]]) -> Self:
        """`special_tokens`: for each its text, whether it is left alone in plain text, and whether white
        space before and after it is dropped."""

    def pieces(
        self,
        messages: list[Message],
        *,
        tools: list[dict[str, Any]] | None = None,
        documents: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        bos_token: str = "",
        eos_token: str = "",
        **options: TemplateOption,
    ) -> list[tuple[str, bool]]:
        """As `render_template`, in stretches as `PyModel.prompt_pieces` gives them.

        Raises TemplateError.
        """

def render_template(
    template: str,
    /,
    messages: list[Message],
    *,
    tools: list[dict[str, Any]] | None = None,
    documents: list[dict[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    bos_token: str = "",
    eos_token: str = "",
    **options: TemplateOption,
) -> str:
    """A conversation as a chat template writes it, in the sandbox. Tokens that a model lacks are empty texts;
    `options` are switches of the template by their names, such as `enable_thinking`.

    Raises TemplateError.
    """

def get_cpu_variant() -> str:
    """The name of this machine's CPU variant, like "bitnet-amd-zen2"."""

def get_optimal_binary(binary_name: str) -> str:
    """Path of the best build of a binary for this machine.

    `llama.dll`, `libllama.so` and `libllama.dylib` mean the same. Looked for in `$TABAGENT_RUNTIME_DIR`, in
    the package, and under `$TABAGENT_ROOT`. Raises FileNotFoundError with the list of what was tried.
    """

def explain_binary(binary_name: str) -> list[Candidate]:
    """Every place where `get_optimal_binary` looks, in order, with what became of it and why."""

def get_cpu_info() -> CpuInfo:
    """The processor."""

def get_gpu_info() -> list[GpuInfo]:
    """The GPUs; empty where there are none."""

def get_memory_info() -> MemoryInfo:
    """Main memory."""

def estimate_memory(
    model_path: str | PathLike[str],
    *,
    dll_path: str | PathLike[str] | None = None,
    context_length: int | None = None,
    threads: int | None = None,
    gpu_layers: int = 0,
    parallel: int = 1,
    kv_cache_tokens: int | None = None,
    kv_type: str = "f16",
    flash_attention: Literal["auto", "on", "off"] | bool | None = None,
    spill_bytes: int | None = None,
    adapters: list[tuple[str, str | PathLike[str], float]] | None = None,
) -> MemoryEstimate:
    """What a model would take with `Engine`'s arguments, without loading it: only the file's header is read.

    Raises what loading would raise.
    """

def inspect_gguf(path: str | PathLike[str]) -> GgufFacts:
    """Read and check a GGUF file without llama.cpp.

    Raises ModelFileNotFoundError or InvalidGgufError.
    """

def quantize_gguf(
    input: str | PathLike[str], output: str | PathLike[str], kind: str, *, threads: int = 0
) -> None:
    """Write the model of one file to another, which must not exist, its weights as `kind` (`Q4_K_M` …).

    `threads` 0 means all. Weights that are quantized already are refused. Raises InvalidArgumentError,
    InvalidGgufError, InferenceError; the output may then exist in part.
    """

def set_log_callback(callback: Callable[[int, str], object] | None, /) -> None:
    """Send llama.cpp's log lines to `callback(level, line)`, with the levels of `logging`.

    None sends them to the logger `tabagent_model.llama` again, where they go from the start. Never to stdout.
    """

def set_pack_directory(directory: str | PathLike[str]) -> None:
    """Tell where the runtime pack lies that came with the package."""

def stop_all() -> None:
    """End every engine, whoever holds it: for the end of the process."""
