"""Shapes of what goes in and comes out: dicts and keyword arguments, for those who annotate.

Lengths are in tokens, sizes in bytes, times in milliseconds where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Union

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Sampling(TypedDict, total=False):
    """Keyword arguments of every generation. None leaves the default."""

    temperature: float | None
    """0 is greedy; 0.7 by default."""
    top_k: int | None
    """40 by default; 0 keeps all tokens."""
    top_p: float | None
    """0.95 by default."""
    min_p: float | None
    """0.05 by default."""
    repeat_penalty: float | None
    """1.0, none, by default."""
    repeat_last_n: int | None
    """How far back penalties look: 64 tokens by default, -1 is everything."""
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: dict[int, float] | None
    seed: int | None
    """The same seed draws the same tokens; without one it is chosen, and told at the end."""
    stop: str | list[str] | None
    """Strings that end the text; they are not part of it."""
    spelled: dict[int, str] | None
    """Tokens that the text has written out so, such as control tokens, which otherwise leave no text."""
    logprobs: int | None
    """With `Engine`: how many alternatives (0 to 20) come with each token."""
    ignore_eos: bool | None
    priority: int | None
    """From -10 to 10; higher ones leave the queue first."""
    timeout_s: float | None
    """With `Engine`: end after so many seconds, in the queue too, for the reason `timeout`."""
    prefix_cache: bool | None
    """Whether to use computed prefixes and leave some behind; true by default."""
    deterministic: bool | None
    """Run alone and with nothing reused, so that the same machine computes the same tokens, whoever else
    asks meanwhile; false by default."""
    context_shift: int | None
    """With `Engine`, when the context is full: go on with the first so many tokens (at most half of the
    context) and the later half of the rest, instead of ending for the length. Models that cannot
    (`ModelFacts` tells) end; not with `deterministic`."""
    identity: int | None
    """Whose prompt it is: computed prefixes are shared within one identity only."""
    public_prefix: int | None
    """With `Engine`: how many of the prompt's first tokens are no secret, but shared by all identities."""
    adapters: list[tuple[str, float]] | None
    """Adapters by name, of those that the model was loaded with, and how strongly each applies."""
    add_special: bool | None
    """Whether a text prompt begins with what the model wants at its beginning; true by default."""
    parse_special: bool | None
    """Whether control tokens written out in a text prompt are meant; false by default."""
    response_format: ResponseFormat | None
    """What the answer must look like; the answer ends where that says so."""


class ResponseFormat(TypedDict):
    """The form of an answer: `type`, and the member of that name."""

    type: Literal["text", "json_object", "json_schema", "regex", "grammar"]
    json_schema: NotRequired[Mapping[str, Any] | bool | str]
    """A JSON schema, as it is or as JSON text. A keyword that is not supported is refused by name."""
    regex: NotRequired[str]
    """What the whole answer matches (Rust's syntax, without look-around)."""
    grammar: NotRequired[str]
    """What derives the answer: llguidance's dialect of Lark; its rule `start`."""
    parts: NotRequired[Mapping[str, ResponseFormat]]
    """What `@name` means in the grammar."""


TemplateOption = Union[str, bool, int, float, "list[Any]", "dict[str, Any]", None]
"""The value of a chat template's switch: whatever JSON can hold."""


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    content: NotRequired[str | list[dict[str, str]] | None]
    """Text, or parts {"type": "text", "text": …}."""
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    reasoning_content: NotRequired[str]
    """What the model thought before it spoke; `thinking` and `reasoning` are read as the same."""
    thinking: NotRequired[str]
    reasoning: NotRequired[str]


class Usage(TypedDict):
    """Token counts."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Timings(TypedDict):
    """Durations and speeds; 0 where there was nothing to measure."""

    queue_ms: float
    first_token_ms: float
    prefill_tokens_per_s: float
    decode_tokens_per_s: float


class Alternative(TypedDict):
    """A token that could have been."""

    token: int
    text: str
    logprob: float


class TokenInfo(TypedDict):
    """A generated token; all but its id only where `logprobs` was asked for."""

    token: int
    text: NotRequired[str]
    logprob: NotRequired[float]
    top: NotRequired[list[Alternative]]


class StartedEvent(TypedDict):
    """A request has left the queue."""

    request: int
    type: Literal["started"]
    prompt_tokens: int
    cached_tokens: int
    queue_ms: float


class PieceEvent(TypedDict):
    """Some text: whole characters, and never a part of a stop string."""

    request: int
    type: Literal["piece"]
    text: str
    tokens: list[TokenInfo]


class FinishedEvent(TypedDict):
    """The end of a request that went well."""

    request: int
    type: Literal["finished"]
    reason: Literal["stop", "length", "cancelled", "timeout"]
    usage: Usage
    timings: Timings
    seed: int


class FailedEvent(TypedDict):
    """The end of a request that did not."""

    request: int
    type: Literal["failed"]
    error: str


Event = StartedEvent | PieceEvent | FinishedEvent | FailedEvent
"""What `Engine.drain` answers."""


class Vectors(TypedDict):
    """Vectors of texts, in the texts' order."""

    vectors: list[list[float]]
    tokens: int
    """Of all texts together."""


class Scores(TypedDict):
    """Scores of documents, in the documents' order; higher means more relevant."""

    scores: list[float]
    tokens: int
    """Of all documents together, each with the query."""


class MemoryPart(TypedDict):
    """What one kind of memory holds, in bytes."""

    memory: str
    """As ggml names it: "CPU", "CPU_REPACK", "CUDA0"."""
    is_host: bool
    """Whether it is this machine's main memory."""
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int


class MemoryEstimate(TypedDict):
    """What a model and its context take, in bytes."""

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    """Scratch space of a computation, and its outputs."""
    spill_bytes: int
    """The most that leaves the KV cache for main memory."""
    context_shift: bool
    """Whether an answer can go on when its context is full."""
    token_table_bytes: int
    """Of the weights, the table of the tokens' vectors, of which a text's rows are read."""
    token_table_is_output: bool
    """Whether the same table gives the outputs, so that all of it is read."""
    parts: list[MemoryPart]


class Stats(TypedDict):
    """What an engine holds and has done."""

    queued: int
    running: int
    events_waiting: int
    retry_after_s: float
    """After how long the next request leaves the queue, as far as measured."""
    finished: int
    cancelled: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    steps: int
    preemptions: int
    """How often a request lost its KV cache to another and was computed anew."""
    drafted: int
    """Guessed tokens that were computed."""
    drafts_kept: int
    """Those of them that came true."""
    shifts: int
    """How often a request let go of tokens because its context was full."""
    spilled: int
    """Sequences that left the KV cache for main memory."""
    restored: int
    """Those of them that came back."""
    spilled_bytes: int
    """Bytes of main memory that such sequences hold now."""
    unusable: str | None


class ModelFacts(TypedDict):
    """A loaded model."""

    path: str
    description: str
    architecture: str | None
    kind: Literal["generative", "encoder", "other"]
    """What the model can be used for, as far as its architecture tells."""
    pooling: Literal["mean", "cls", "last", "rank"]
    """How the vector of a text is made; "rank": the model scores documents."""
    name: str | None
    parameters: int
    size_bytes: int
    file_type: str | None
    vocab_size: int
    context_train_size: int | None
    context_length: int
    """Tokens in the longest sequence, prompt and answer together; 0 with vocab_only."""
    embedding_dim: int | None
    token_bos: int | None
    token_eos: int | None
    token_nl: int | None
    tokens_eog: list[int]
    """Every token that ends a generation."""
    has_chat_template: bool
    chat_template: str | None
    """Its Jinja text."""
    prefix_reuse: bool
    context_shift: bool
    """Whether an answer can go on when the context is full."""
    spill_bytes: int
    """The most bytes of main memory for what leaves the KV cache."""
    parallel: int
    runtime: str
    """The folder of the runtime pack."""
    runtime_build: str
    cpu_module: str
    gpu: bool
    """Whether layers can be put on a GPU."""


class Quantization(TypedDict):
    """How much of a file is stored in one type."""

    type: str
    tensors: int
    elements: int
    bytes: int


class Adapter(TypedDict):
    """What an adapter file says about itself."""

    type: str | None
    alpha: float | None
    rank: int | None


class ArraySummary(TypedDict):
    """Stands for a long array of the metadata."""

    array_of: str
    length: int


class GgufFacts(TypedDict):
    """A GGUF file. What it does not say is None."""

    path: str
    architecture: str | None
    kind: Literal["generative", "encoder", "other"]
    """What the model can be used for, as far as its architecture tells."""
    pooling: Literal["mean", "cls", "last", "rank"] | None
    """How the vector of a text is made; "rank": the model scores documents."""
    name: str | None
    parameters: int
    size_bytes: int
    file_type: str | None
    quantization: list[Quantization]
    """By type, the one with the most bytes first."""
    tensor_count: int
    context_length: int | None
    embedding_length: int | None
    block_count: int | None
    head_count: int | None
    head_count_kv: int | None
    expert_count: int | None
    vocab_size: int | None
    tokenizer_model: str | None
    tokenizer_pre: str | None
    chat_template: str | None
    adapter: Adapter | None
    split: tuple[int, int] | None
    """Index and count of a model in several files."""
    ternary: bool
    bitnet: bool
    version: int
    alignment: int
    loadable: bool
    problem: str | None
    """Why it cannot be loaded as a model."""
    metadata: dict[str, bool | int | float | str | bytes | list[Any] | ArraySummary]


class Candidate(TypedDict):
    """A place where a binary was looked for."""

    path: str
    outcome: Literal["chosen", "passed", "missing", "not_a_file", "not_runnable", "refused"]
    reason: str
    missing_features: list[str]
    """What the processor, or the system, lacks; for `not_runnable`."""


class Cache(TypedDict):
    """Caches of one kind and level."""

    level: int
    kind: str
    size_bytes: int
    count: int


class CpuInfo(TypedDict):
    """The processor."""

    architecture: str
    vendor: str
    family: int
    model: int
    stepping: int
    brand: str
    features: list[str]
    """Those that the operating system supports too, sorted."""
    physical_cores: int
    logical_cores: int
    available_cores: int
    """Hardware threads that this process may run on."""
    performance_cores: int | None
    efficiency_cores: int | None
    cgroup_cpu_limit: float | None
    """Processors' worth of time that the control group grants."""
    caches: list[Cache]
    hypervisor: str | None


class GpuInfo(TypedDict):
    """A GPU."""

    vendor: str
    name: str
    memory_total_bytes: int | None
    memory_free_bytes: int | None
    driver: str | None
    backend: str | None
    """What computes on it, like "cuda"."""
    pci_address: str | None


class MemoryInfo(TypedDict):
    """Main memory, in bytes."""

    total_bytes: int
    available_bytes: int
    cgroup_limit_bytes: int | None
    cgroup_used_bytes: int | None
    usable_bytes: int
    """What this process can still take."""
