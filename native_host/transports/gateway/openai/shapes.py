"""The shapes of OpenAI's API, in so far as they mean something here. What clients send beyond them is
ignored, as everybody's servers do; members of ours that it does not have are taken too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from native_host.protocol.messages import (
    AdapterUse,
    NamedTool,
    Natural,
    Positive,
    Token,
    Tool,
    ToolCallDelta,
    Unit,
)

Penalty = Annotated[float, Meta(ge=-100, le=100)]
Stop = str | list[str]


class Model(Struct, kw_only=True):
    """A model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "native-host"


class ModelList(Struct, kw_only=True):
    """All models."""

    object: Literal["list"] = "list"
    data: list[Model]


class Usage(Struct, kw_only=True):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


class StreamOptions(Struct):
    """`include_usage`: a last event before the end tells the usage."""

    include_usage: bool = False


class JsonSchema(Struct):
    """A named schema."""

    schema: dict[str, Any] | bool | None = None
    name: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None
    schema: dict[str, Any] | None = None


class Inference(Struct, kw_only=True):
    """What the two ways to generate share."""

    model: str | None = None
    max_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: Stop | None = None
    n: Positive | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    # Ours
    top_k: Natural | None = None
    min_p: Unit | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    adapters: list[AdapterUse] | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    ignore_eos: bool = False
    deterministic: bool = False
    response_cache: bool = False


class FunctionCall(Struct, kw_only=True):
    """Which function, and its arguments as JSON text."""

    name: str
    arguments: str = ""


class ToolCall(Struct, kw_only=True):
    """A call of a function that a model asked for."""

    id: str | None = None
    type: str = "function"
    function: FunctionCall


class Message(Struct, kw_only=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class ChatRequest(Inference, kw_only=True):
    """`/v1/chat/completions`."""

    messages: list[Message]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool = True
    chat_template_kwargs: dict[str, Any] | None = None
    session: str | None = None


class TopLogprob(Struct, kw_only=True):
    """A candidate for one position."""

    token: str
    bytes: list[int]
    logprob: float


class TokenLogprob(Struct, kw_only=True):
    """A generated token."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[TopLogprob]


class Logprobs(Struct, kw_only=True):
    """The tokens of an answer, or of a piece of it."""

    content: list[TokenLogprob]


class AnswerMessage(Struct, kw_only=True):
    """The model's answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Struct, kw_only=True):
    """The one answer."""

    index: int = 0
    message: AnswerMessage
    logprobs: Logprobs | None = None
    finish_reason: str


class ChatCompletion(Struct, kw_only=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    seed: int


class Delta(Struct, kw_only=True, omit_defaults=True):
    """What a piece adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(Struct, kw_only=True):
    """The one answer's next piece."""

    index: int = 0
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class ChatChunk(Struct, kw_only=True, omit_defaults=True):
    """One event of a stream."""

    id: str
    object: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None


class CompletionRequest(Inference, kw_only=True):
    """`/v1/completions`. `prompt` is a text, several, the token ids of one, or a list with those of one."""

    prompt: str | list[str | int | list[Token]]
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Positive | None = None
    suffix: str | None = None


class CompletionLogprobs(Struct, kw_only=True):
    """The tokens of an answer, in four lists of the same length."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(Struct, kw_only=True):
    """One prompt's answer, or a piece of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None


class Completion(Struct, kw_only=True):
    """Answers to prompts, or one event of their stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


class EmbeddingsRequest(Struct, kw_only=True):
    """`/v1/embeddings`. `dimensions` keeps the first so many of each vector, and scales it to length 1."""

    input: str | list[str]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Positive | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None


class Embedding(Struct, kw_only=True):
    """One text's vector; in base64 it is that of 32-bit floats, little-endian."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(Struct, kw_only=True):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Struct, kw_only=True):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
