"""Ollama's requests and answers. Times are in nanoseconds, sizes in bytes. Members that are not known here
are not heeded, as Ollama does it.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from native_host.protocol.messages import Tool

Think = bool | Literal["low", "medium", "high"]
KeepAlive = str | int | float


class Options(Struct, kw_only=True):
    """How to generate."""

    num_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    typical_p: float | None = None
    tfs_z: float | None = None
    mirostat: int | None = None


class Inference(Struct, kw_only=True):
    """What generating and chatting have in common. `format` is `json` or a JSON schema."""

    model: str
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: Options | None = None
    keep_alive: KeepAlive | None = None
    think: Think | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class GenerateRequest(Inference, kw_only=True):
    """`/api/generate`. `raw` takes the prompt as it stands; otherwise it is a question. Without a prompt the
    model is loaded, or with `keep_alive` 0 unloaded.
    """

    prompt: str = ""
    system: str | None = None
    raw: bool | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[str] | None = None


class Function(Struct, kw_only=True):
    """A call's function; `arguments` are an object."""

    name: str
    arguments: dict[str, Any]


class ToolCall(Struct, kw_only=True, omit_defaults=True):
    """A call of a function."""

    function: Function
    id: str | None = None


class Message(Struct, kw_only=True, omit_defaults=True):
    """One message; `tool_name` says whose result a `tool` message is."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ChatRequest(Inference, kw_only=True):
    """`/api/chat`. Without messages the model is loaded, or with `keep_alive` 0 unloaded."""

    messages: list[Message] = []
    tools: list[Tool] | None = None


class TopLogprob(Struct, kw_only=True):
    """A token and its natural-log probability."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TopLogprob, kw_only=True):
    """A generated token, and the likeliest ones in its place."""

    top_logprobs: list[TopLogprob]


class Figures(Struct, kw_only=True, omit_defaults=True):
    """The figures of a whole answer, in its last line."""

    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class Line(Figures, kw_only=True, omit_defaults=True):
    """A line of an answer, or all of it: `response` where text was generated, `message` in a chat."""

    model: str
    created_at: str
    response: str | None = None
    thinking: str | None = None
    message: Message | None = None
    logprobs: list[Logprob] | None = None
    done: bool
    done_reason: str | None = None


class EmbedRequest(Struct, kw_only=True):
    """`/api/embed`. A text that is too long is refused, never cut."""

    model: str
    input: str | list[str]
    dimensions: int | None = None
    keep_alive: KeepAlive | None = None


class EmbedAnswer(Figures, kw_only=True):
    """Vectors of length 1, in the order of the texts."""

    model: str
    embeddings: list[list[float]]


class EmbeddingsRequest(Struct, kw_only=True):
    """`/api/embeddings`, which newer clients no longer use."""

    model: str
    prompt: str
    keep_alive: KeepAlive | None = None


class EmbeddingsAnswer(Struct, kw_only=True):
    """One vector, of whatever length the model gives it."""

    embedding: list[float]


class Details(Struct, kw_only=True):
    """What kind of model it is, as far as that is known."""

    parent_model: str = ""
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str


class Tagged(Struct, kw_only=True):
    """A model of the registry. `digest` changes with its name and size; it is no file's."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details


class Tags(Struct, kw_only=True):
    """`/api/tags`: the models that are here."""

    models: list[Tagged]


class Running(Struct, kw_only=True):
    """A loaded model."""

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int


class RunningModels(Struct, kw_only=True):
    """`/api/ps`."""

    models: list[Running]


class ModelRequest(Struct, kw_only=True):
    """A model, as newer clients name it or as older ones do."""

    model: str = ""
    name: str = ""
    stream: bool | None = None

    @property
    def named(self) -> str:
        """Whichever was given."""
        return self.model or self.name


class Shown(Struct, kw_only=True):
    """`/api/show`."""

    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class Status(Struct, kw_only=True, omit_defaults=True):
    """A line of a pull: what is done now, and how many bytes of it."""

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None


class Version(Struct, kw_only=True):
    """`/api/version`: this host's, not Ollama's."""

    version: str
