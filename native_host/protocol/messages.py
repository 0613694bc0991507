"""The types of every method's params and result, and of every notification. Plain data, no behaviour.

Unknown members of params are refused by name. Members whose value is None are left out on the wire; None of a
sampling member means "the model's own default" (see `docs/protocol.md`, Inference).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from native_host.protocol.limits import MIN_PEER_FRAME_BYTES

Finish = Literal["stop", "length", "tool_calls"]
RequestId = str | int | float | None
"""What a peer may use as an id. Echoed as it was written."""

Unit = Annotated[float, Meta(ge=0, le=1)]
Natural = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Positive = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Token = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Hex32 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]
"""32 bytes, in hexadecimal."""


class Params(Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What all params have in common: by name only, and no member that nobody knows."""


class Result(Struct, omit_defaults=True, kw_only=True):
    """What all results have in common: members that are None are left out."""


class NoParams(Params):
    """For methods that take none: `{}` or nothing at all."""


# Life cycle


class ClientInfo(Params):
    """Who calls. `max_frame_in`: the longest frame it accepts, in bytes. `origin`: filled in by a relay."""

    name: Annotated[str, Meta(max_length=256)]
    version: Annotated[str, Meta(max_length=256)]
    max_frame_in: Annotated[int, Meta(ge=MIN_PEER_FRAME_BYTES)] | None = None
    origin: Annotated[str, Meta(max_length=1024)] | None = None


class InitializeParams(Params):
    """`initialize`."""

    protocol_version: str
    client: ClientInfo


class ServerInfo(Result):
    """Who answers."""

    name: str
    version: str
    pid: int


class Limits(Result):
    """Bytes a frame, seen from the host: it takes `max_frame_in` and sends no more than `max_frame_out`."""

    max_frame_in: int
    max_frame_out: int
    max_batch: int


class AuthInfo(Result):
    """Whether `authenticate` must come next, how it may be done, and the nonce for it (hex, for 30 s)."""

    required: bool
    schemes: list[str]
    nonce: str | None = None


class Capabilities(Result):
    """What this host can do beyond the minimum."""

    methods: list[str]
    notifications: list[str]


class InitializeResult(Result):
    """Answer to `initialize`."""

    protocol_version: str
    server: ServerInfo
    capabilities: Capabilities
    limits: Limits
    auth: AuthInfo


class AuthenticateParams(Params):
    """`authenticate`: `client_nonce` and `mac` (hex of 32 bytes each), or `api_key`."""

    client_nonce: Hex32 | None = None
    mac: Hex32 | None = None
    api_key: str | None = None


class AuthenticateResult(Result):
    """`mac` proves that the host knows the secret too; absent where an API key was given."""

    mac: str | None = None


class PingResult(Result):
    """Answer to `ping`."""

    pong: bool
    uptime_s: float


class HealthResult(Result):
    """Answer to `health`. `problems` says what is degraded."""

    status: Literal["ok", "degraded"]
    uptime_s: float
    requests_in_flight: int
    problems: list[str] = []


# Inference


class TopLogprob(Result):
    """A candidate for one position; `logprob` is natural and finite."""

    token: int
    text: str
    logprob: float


class TokenLogprob(Result):
    """A generated token and the likeliest candidates at its position."""

    token: int
    text: str
    logprob: float
    top: list[TopLogprob]


class Usage(Result):
    """Tokens. `cached_tokens` of the prompt were not computed again."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Partial(Struct):
    """What a request has produced so far: a cancellation or a timeout is answered with it, in
    `error.data`. `texts` stands for `text` where there were `prompts`, one for each."""

    text: str | None = None
    usage: Usage | None = None
    texts: list[str] | None = None
    model: str | None = None
    """Which model answers, once that is known; not told."""
    counted: int = 0
    """How many of its tokens count towards its peer's quota already; not told."""
    measured: Usage | None = None
    """What of its usage the metrics have already, from those who read the same stream before; not told."""

    def told(self) -> dict[str, object]:
        """The members of `error.data`: always `text` and `usage`, null where there is nothing."""
        told: dict[str, object] = {"text": self.text, "usage": self.usage}
        return told if self.texts is None else {**told, "texts": self.texts}


class Timings(Result):
    """Milliseconds and tokens a second; None where there was nothing to measure."""

    queue_ms: float | None = None
    load_ms: float | None = None
    first_token_ms: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None


class AdapterUse(Params):
    """A LoRA adapter and how strongly it applies."""

    name: str
    scale: float = 1.0


class ResponseFormat(Params):
    """What the answer must look like; the member that goes with `type` says how."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar"]
    json_schema: dict[str, Any] | bool | None = None
    regex: str | None = None
    grammar: str | None = None


class InferenceParams(Params):
    """The params that `generate` and `chat` share."""

    model: str | None = None
    max_tokens: Positive = 512
    temperature: Annotated[float, Meta(ge=0, le=100)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Natural | None = None
    min_p: Unit | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-100, le=100)] | None = None
    logit_bias: dict[Token, float] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    adapters: list[AdapterUse] | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    keep_alive: str | int | float | None = None
    session: str | None = None
    prefix_cache: bool = True
    response_cache: bool = False
    ignore_eos: bool = False
    deterministic: bool = False
    resumable: bool = False


class GenerateParams(InferenceParams):
    """`generate`: exactly one of `prompt` (text or token ids) and `prompts`."""

    prompt: str | list[Token] | None = None
    prompts: list[str] | None = None


class GeneratedText(Result):
    """One member of `texts`."""

    text: str
    finish_reason: Finish
    usage: Usage
    logprobs: list[TokenLogprob] | None = None


class InferenceResult(Result, kw_only=True):
    """What the answers to `generate` and `chat` share. `cached`, where `response_cache` was asked for:
    whether the answer was kept from before.
    """

    model: str
    usage: Usage
    timings: Timings
    seed: int
    cached: bool | None = None


class GenerateResult(InferenceResult, kw_only=True):
    """Answer to `generate`: `text` and `finish_reason` for a `prompt`, `texts` for `prompts`."""

    text: str | None = None
    finish_reason: Finish | None = None
    texts: list[GeneratedText] | None = None
    logprobs: list[TokenLogprob] | None = None


class FunctionDescription(Params, rename={"returns": "return"}):
    """A function that a model may call. `parameters` is the JSON schema of an object, in the dialect of
    `response_format`; arguments are held to it whether `strict` is asked for or not. `return` is for
    templates that tell it.
    """

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    returns: dict[str, Any] | None = None


class Tool(Params):
    """One member of `tools`."""

    type: Literal["function"]
    function: FunctionDescription


class FunctionName(Params):
    """Names a function of `tools`."""

    name: str


class NamedTool(Params):
    """A `tool_choice` that leaves no choice."""

    type: Literal["function"]
    function: FunctionName


class ToolFunction(Struct, omit_defaults=True):
    """Which function, and its arguments as JSON text (of a message that a peer sends, or as an object)."""

    name: str
    arguments: str | dict[str, Any]


class ToolCall(Struct, kw_only=True):
    """A call of a function that a model asked for."""

    id: str | None = None
    type: str = "function"
    function: ToolFunction


class FunctionDelta(Struct, omit_defaults=True):
    """The next piece of a call: its name once, then its arguments piece by piece."""

    name: str | None = None
    arguments: str = ""


class ToolCallDelta(Struct, omit_defaults=True, kw_only=True):
    """What has come of the call number `index`; the first one of a call has `id`, `type` and the name."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionDelta


class StreamsResumeParams(Params):
    """`streams.resume`: a stream by its name, and the first piece that is missing."""

    stream: str
    from_seq: Natural = 0


class ChatMessage(Params):
    """One message of a conversation. A part of `content` is `{"type": "text", "text": …}`; parts of other
    types pass here with whatever they hold, for the service to refuse by name. `reasoning` is what an
    assistant thought before it spoke. A `tool` message is the result of the call `tool_call_id`.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    reasoning: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class ChatParams(InferenceParams, kw_only=True):
    """`chat`. `tool_choice` is `auto` where there are tools and nothing else is said. `documents` and
    `chat_template_kwargs` (its switches by their names, such as `enable_thinking`) are for the model's
    template. `prompt` names a system prompt, which is wrapped around a system message at the beginning;
    `prompt_variables` are what its template takes beside that.
    """

    messages: list[ChatMessage]
    prompt: str | None = None
    prompt_variables: dict[str, str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool = True
    documents: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class AssistantMessage(Result, kw_only=True):
    """The model's answer. `content` is empty where it only called tools; `reasoning` is what it thought
    before."""

    role: Literal["assistant"] = msgspec.field(default_factory=lambda: "assistant")
    content: str
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None


class ChatResult(InferenceResult, kw_only=True):
    """Answer to `chat`. `left_out`, in a session: how many of its oldest messages the prompt was without."""

    message: AssistantMessage
    finish_reason: Finish
    logprobs: list[TokenLogprob] | None = None
    left_out: int | None = None


# Sessions

Ttl = Annotated[float, Meta(ge=1, le=30 * 24 * 3600)]
"""Seconds that something is kept, 30 days at most."""


class SessionsCreateParams(Params):
    """`sessions.create`: a conversation that the host keeps. `model` and `system` are for all of its chats;
    `ttl_s` is how long it is kept after it was last used.
    """

    model: str | None = None
    system: str | None = None
    ttl_s: Ttl = 24 * 3600.0


class SessionsCreateResult(Result):
    """Answer to `sessions.create`."""

    session: str


class SessionParams(Params):
    """`sessions.get` and `sessions.delete`."""

    session: str


class SessionInfo(Result):
    """What a session is. `created_at` is in seconds since 1970."""

    session: str
    created_at: float
    ttl_s: float
    model: str | None = None
    system: str | None = None


class SessionListing(SessionInfo, kw_only=True):
    """One member of the answer to `sessions.list`; `messages` is how many it has."""

    messages: int


SessionsListResult = list[SessionListing]


class SessionsGetResult(SessionInfo, kw_only=True):
    """Answer to `sessions.get`. Of the `messages`, the first `left_out` are no longer in the prompt."""

    messages: list[ChatMessage]
    left_out: int


# Vectors


class EmbedParams(Params):
    """`embed`: one text or several. `normalize` scales each vector to length 1."""

    input: str | list[str]
    model: str | None = None
    normalize: bool = True
    timeout_s: Annotated[float, Meta(gt=0)] | None = None
    keep_alive: str | int | float | None = None


class EmbedResult(Result):
    """Answer to `embed`: one vector an input, in order."""

    embeddings: list[list[float]]
    dimensions: int
    model: str
    usage: Usage


class RerankParams(Params):
    """`rerank`: `top_n` keeps the best ones only."""

    query: str
    documents: list[str]
    model: str | None = None
    top_n: Positive | None = None
    timeout_s: Annotated[float, Meta(gt=0)] | None = None


class RankedDocument(Result):
    """One member of `results`: `index` into `documents`; a higher `score` means more relevant."""

    index: int
    score: float


class RerankResult(Result):
    """Answer to `rerank`, the most relevant document first."""

    results: list[RankedDocument]
    model: str
    usage: Usage


class TokenizeParams(Params):
    """`tokenize`."""

    text: str
    model: str | None = None
    add_special: bool = True
    parse_special: bool = False


class TokenizeResult(Result):
    """Answer to `tokenize`."""

    tokens: list[int]


class DetokenizeParams(Params):
    """`detokenize`."""

    tokens: list[Token]
    model: str | None = None


class DetokenizeResult(Result):
    """Answer to `detokenize`; bytes that are no UTF-8 are replaced."""

    text: str


class ApplyTemplateParams(Params):
    """`models.apply_template`. `chat_template_kwargs` are switches of the model's template by their names,
    such as `enable_thinking`.
    """

    messages: list[ChatMessage]
    model: str | None = None
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None


class ApplyTemplateResult(Result):
    """Answer to `models.apply_template`."""

    prompt: str


# Models and the machine


class ModelListing(Result, kw_only=True):
    """One member of the answer to `models.list`. Sizes in bytes, lengths in tokens.

    `memory_bytes` is what all processes of the model hold now; `requests` how many use or await it;
    `unload_in_s` how long it stays loaded if nobody does; a `pinned` one stays. The `default` one answers
    requests that name none.
    """

    name: str
    format: str
    type: str
    state: Literal["available", "absent", "loading", "loaded", "draining"]
    size_bytes: int | None
    memory_bytes: int | None = None
    requests: int = 0
    unload_in_s: float | None = None
    pinned: bool = False
    default: bool = False
    context_length: int | None = None
    capabilities: list[str]


ModelsListResult = list[ModelListing]


class ModelsInspectParams(Params):
    """`models.inspect`: exactly one of a model of the registry and a file's path."""

    model: str | None = None
    path: str | None = None


class ModelInspection(Result):
    """Answer to `models.inspect`: what the file says of itself; `details` is what only some formats have."""

    format: str
    file: str
    size_bytes: int
    name: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    vocab_size: int | None = None
    chat_template: str | None = None
    details: dict[str, Any] = {}


class ModelsLoadParams(Params):
    """`models.load`: a model, and what is to differ from its entry in `models.json` this once. Sizes and
    times are written as there.
    """

    model: str | None = None
    device: str | None = None
    quantization: str | None = None
    max_memory: str | int | dict[str, str | int] | None = None
    keep_alive: str | int | float | None = None
    context_length: Positive | None = None
    threads: Positive | None = None
    gpu_layers: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    mlock: bool | None = None
    parallel: Positive | None = None
    kv_cache_tokens: Positive | None = None
    kv_type: Literal["f32", "f16", "q8_0", "q4_0"] | None = None
    flash_attention: Literal["auto", "on", "off"] | None = None


class ModelsLoadResult(Result, kw_only=True):
    """Answer to `models.load`."""

    model: str
    state: Literal["loaded"] = msgspec.field(default_factory=lambda: "loaded")
    context_length: int
    load_ms: float
    memory_bytes: int | None = None


class ModelsEstimateParams(Params):
    """`models.estimate`: a model, and what is to differ from its entry in `models.json`."""

    model: str | None = None
    context_length: Positive | None = None
    gpu_layers: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    parallel: Positive | None = None
    kv_cache_tokens: Positive | None = None
    kv_type: Literal["f32", "f16", "q8_0", "q4_0"] | None = None
    flash_attention: Literal["auto", "on", "off"] | None = None


class ModelsEstimateResult(Result, kw_only=True):
    """Answer to `models.estimate`, in bytes: weights (the mapped file and copies of it), KV cache, scratch
    space with outputs, and all of it with what a worker needs for itself. `fits`: the machine has that much
    left now, no model unloaded.
    """

    model: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    total_bytes: int
    fits: bool


class ModelsUnloadParams(Params):
    """`models.unload`: waits for what runs, unless `force` cancels it."""

    model: str
    force: bool = False


class ModelsPullParams(Params):
    """`models.pull`: `hf:owner/repo[:quant]`, `file:PATH` or `https://…#sha256=…`; `name` is what the model
    is to be called here."""

    source: Annotated[str, Meta(max_length=4096)]
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class ModelsPullResult(Result):
    """Answer to `models.pull`. `path` is a file or a folder; `fetched_bytes` came over the network just now;
    `models_file` is the models.json that names the model."""

    model: str
    source: str
    format: str
    path: str
    size_bytes: int
    fetched_bytes: int
    models_file: str


class ModelsImportParams(Params, rename={"origin": "from"}):
    """`models.import`: `ollama`, `lmstudio`, `huggingface`, or a folder's absolute path. `dry_run` only
    shows."""

    origin: Annotated[str, Meta(min_length=1, max_length=4096)]
    dry_run: bool = False


class ImportedModel(Result):
    """A model that was found. `status`: `added` (with `dry_run` it would be), `known` before, or `unusable`
    for the reason in `problem`."""

    model: str
    format: str
    path: str
    status: Literal["added", "known", "unusable"]
    size_bytes: int | None = None
    problem: str | None = None
    notes: list[str] = []


class ModelsImportResult(Result):
    """Answer to `models.import`."""

    models: list[ImportedModel]
    dry_run: bool
    models_file: str


class ModelsDeleteParams(Params):
    """`models.delete`: a model in use is refused unless `force` cancels what it does."""

    model: str
    force: bool = False


class ModelsDeleteResult(Result):
    """Answer to `models.delete`. Files go only if a pull brought them; `kept` says why what is left was
    left."""

    model: str
    removed_files: list[str]
    freed_bytes: int
    kept: str | None = None


class ModelsRecommendParams(Params):
    """`models.recommend`: for contexts of this many tokens."""

    context_length: Positive = 4096


class MachineFigures(Result):
    """What the predictions are made from: memory that models may take, how fast memory was read here, and by
    how many threads."""

    available_bytes: int
    read_bytes_per_s: int
    threads: int


class RecommendedModel(Result):
    """A model, with what it would take and do here. `command` gets one that is not `installed`."""

    name: str
    weights_bytes: int
    memory_bytes: int
    decode_tokens_per_s: float
    fits: bool
    parameters: int | None = None
    quantization: str | None = None
    installed: bool = False
    command: str | None = None


class ModelsRecommendResult(Result):
    """Answer to `models.recommend`, best first."""

    machine: MachineFigures
    models: list[RecommendedModel]
    explanation: str


class HardwareInfoResult(Result):
    """Answer to `hardware.info`. The inner shapes are `tabagent_model`'s: see its `_native.pyi`."""

    cpu: dict[str, Any]
    cpu_variant: str
    gpus: list[dict[str, Any]]
    memory: dict[str, Any]
    runtime: dict[str, Any]


# Notifications


class CancelParams(Params):
    """`$/cancelRequest`."""

    id: RequestId


class StreamNotification(Struct, omit_defaults=True, kw_only=True):
    """`$/stream`: the next piece of a request's text. `seq` counts from 0 without a gap. The first one of a
    `resumable` request has the name under which its stream can be taken up again. In a `chat`, thoughts come
    as `reasoning` and calls as `tool_calls`, and `text` can be empty."""

    id: RequestId | msgspec.Raw
    seq: int
    text: str
    index: int | UnsetType = UNSET
    logprobs: list[TokenLogprob] | UnsetType = UNSET
    stream: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ProgressNotification(Struct, omit_defaults=True, kw_only=True):
    """`$/progress`: how far a long step has come; `fraction` 0…1, or null where the end is not known. What
    is counted in bytes tells them too."""

    id: RequestId | msgspec.Raw
    stage: str
    fraction: float | None
    message: str
    done_bytes: int | UnsetType = UNSET
    total_bytes: int | UnsetType = UNSET


class ChunkNotification(Struct, kw_only=True):
    """`$/chunk`: one piece of a result that is too long for a frame; `data` is base64."""

    id: RequestId | msgspec.Raw
    index: int
    of: int
    data: str


class ChunkedResult(Struct, kw_only=True):
    """The answer that stands for a chunked result; `sha256` is that of the joined bytes, in hex."""

    chunked: bool
    chunks: int
    sha256: str
