"""What the host and a worker say to each other: JSON-RPC 2.0 over the frames that everyone speaks.

Methods (host to worker): `load`, `generate`, `embed`, `rerank`, `tokenize`, `detokenize`,
`apply_template`; the notifications `$/cancelRequest`, `$/pause` and `$/resume`. Notifications (worker to
host): `$/progress` while a model loads, and `$/events` with everything that happened since the last one.
`generate` is answered as soon as the engine has accepted the request; what follows are events that carry the
request's id, the last of them `finished` or `failed`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from native_host.protocol.errors import RpcError


class AdapterFile(msgspec.Struct, frozen=True):
    """A LoRA adapter that requests may choose by name: a GGUF file, or a folder as peft writes it.
    `scale` multiplies the scale that a request asks for.
    """

    name: str
    path: str
    scale: float = 1.0


class LoadOptions(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How a model is to be opened; `None` leaves the choice to the backend.

    `max_memory` is in bytes: for all devices together, or by the device's name (`"cpu"`, `"cuda:0"`).
    """

    context_length: int | None = None
    threads: int | None = None
    gpu_layers: int = 0
    mlock: bool = False
    parallel: int | None = None
    kv_cache_tokens: int | None = None
    kv_type: str | None = None
    flash_attention: Literal["auto", "on", "off"] = "auto"
    context_shift: bool = False
    spill_bytes: int | None = None
    adapters: list[AdapterFile] = []
    device: str | None = None
    quantization: str | None = None
    max_memory: int | dict[str, int] | None = None


class LoadRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Params of `load`: which backend opens which file or folder (an absolute path).

    `derived_from` is the GGUF file that the folder is made from, where it is not there yet.
    """

    backend: str
    path: str
    options: LoadOptions = LoadOptions()
    derived_from: str | None = None


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """Result of `load`: what a loaded model is. Lengths in tokens, sizes in bytes.

    `capabilities` are the methods that it can serve (`generate`, `chat`, `embed`, `rerank`, `tokenize`);
    `device` is where it runs and `device_reason` why there; `details` is what only this backend has to say.
    `spill_bytes` are the most that prefixes take which leave the KV cache.
    """

    context_length: int
    context_train_size: int = 0
    vocab_size: int = 0
    embedding_dim: int = 0
    chat_template: bool = False
    capabilities: list[str] = []
    device: str = "cpu"
    device_reason: str = ""
    spill_bytes: int = 0
    details: dict[str, Any] = {}


class AdapterUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """An adapter that a request chose, of those that the model was loaded with."""

    name: str
    scale: float = 1.0


class Form(msgspec.Struct, frozen=True):
    """What an answer must look like. `text` is the JSON schema (as JSON text), the regular expression or the
    grammar (llguidance's dialect of Lark); empty for `json_object`.
    """

    type: Literal["json_object", "json_schema", "regex", "grammar"]
    text: str = ""


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation, its content already plain text; the rest as chat templates read it."""

    role: str
    content: str
    reasoning: str | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None

    def fields(self) -> dict[str, Any]:
        """What it has, by name."""
        return dict(msgspec.to_builtins(self))


class GenerateRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Params of `generate`, every default settled. Exactly one of `prompt` and `messages` is given.

    `identity` stands for whoever asks: computed prefixes are shared within one identity only. After
    `timeout_s` seconds nobody waits for the answer any more. With `public_system` the first message is the
    model's own system prompt: it is no secret, and its computed prefix is shared by all identities. What
    belongs to `messages`: `tools` as the peer described them, `documents`, and `template_options`, switches
    of the chat template by their names.
    """

    prompt: str | list[int] | None = None
    messages: list[ChatMessage] | None = None
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    seed: int
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    stop: list[str] = []
    logprobs: int | None = None
    ignore_eos: bool = False
    priority: int = 0
    timeout_s: float | None = None
    prefix_cache: bool = True
    deterministic: bool = False
    identity: int = 0
    public_system: bool = False
    adapters: list[AdapterUse] = []
    form: Form | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool = True
    documents: list[dict[str, Any]] | None = None
    template_options: dict[str, Any] = {}


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Params of `embed`; `normalize` scales each vector to length 1."""

    inputs: list[str]
    normalize: bool = True


class EmbedResult(msgspec.Struct, frozen=True):
    """Result of `embed`: one vector an input, in order; `tokens` is the inputs' length all together."""

    embeddings: list[list[float]]
    tokens: int


class RerankRequest(msgspec.Struct, frozen=True):
    """Params of `rerank`."""

    query: str
    documents: list[str]


class RerankResult(msgspec.Struct, frozen=True):
    """Result of `rerank`: one score a document, in order; higher means more relevant."""

    scores: list[float]
    tokens: int


class TokenizeRequest(msgspec.Struct, frozen=True):
    """Params of `tokenize`."""

    text: str
    add_special: bool = True
    parse_special: bool = False


class DetokenizeRequest(msgspec.Struct, frozen=True):
    """Params of `detokenize`."""

    tokens: list[int]


class TemplateRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Params of `apply_template`; `options` are switches of the template by their names."""

    messages: list[ChatMessage]
    add_generation_prompt: bool = True
    tools: list[dict[str, Any]] | None = None
    documents: list[dict[str, Any]] | None = None
    options: dict[str, Any] = {}


class CancelNotice(msgspec.Struct, frozen=True):
    """Params of `$/cancelRequest`."""

    id: int


class PaceNotice(msgspec.Struct, frozen=True):
    """Params of `$/pause` (compute no more of this request, its reader is behind) and `$/resume`. A request
    that has ended, or was never accepted, is ignored.
    """

    id: int


class TopToken(msgspec.Struct, frozen=True):
    """One candidate for a position: its id, its text and its natural-log probability."""

    token: int
    text: str
    logprob: float


class TokenInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """One generated token; `logprob` and `top` where they were asked for."""

    token: int
    text: str = ""
    logprob: float | None = None
    top: list[TopToken] = []


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one sequence."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Timings(msgspec.Struct, frozen=True):
    """The engine's own measurements: milliseconds and tokens a second."""

    queue_ms: float = 0.0
    first_token_ms: float = 0.0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0


class Started(msgspec.Struct, frozen=True, tag_field="type", tag="started"):
    """The request left the queue."""

    id: int
    prompt_tokens: int
    cached_tokens: int
    queue_ms: float


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """More of the call number `index` of an answer; its first one has `id` and `name`."""

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None


class Piece(msgspec.Struct, frozen=True, tag_field="type", tag="piece", omit_defaults=True):
    """More text: whole UTF-8 without any part of a stop string, and the tokens that it came from. Of a
    conversation's answer thoughts and calls are told apart.
    """

    id: int
    text: str
    tokens: list[TokenInfo]
    reasoning: str = ""
    calls: list[CallDelta] = []


class Finished(msgspec.Struct, frozen=True, tag_field="type", tag="finished"):
    """The last event of a request that ended as it should."""

    id: int
    reason: Literal["stop", "length", "tool_calls", "cancelled", "timeout"]
    usage: Usage
    timings: Timings
    seed: int


class WireError(msgspec.Struct, frozen=True):
    """An error of the catalogue on its way from a worker; `data` always holds `kind`."""

    code: int
    message: str
    data: dict[str, Any]


def wire_error(error: RpcError) -> WireError:
    """An error of the catalogue, ready to travel."""
    return WireError(error.code, error.message, error.data)


class Failed(msgspec.Struct, frozen=True, tag_field="type", tag="failed"):
    """The last event of a request that the engine could not finish."""

    id: int
    error: WireError


Event = Started | Piece | Finished | Failed


class EventsNotice(msgspec.Struct, frozen=True):
    """Params of `$/events`."""

    events: list[Event]


class ProgressNotice(msgspec.Struct, frozen=True):
    """Params of `$/progress`; `fraction` runs from 0 to 1."""

    id: int
    stage: str
    fraction: float


class Envelope(msgspec.Struct, omit_defaults=True):
    """Any message of either direction; which members are set says what it is."""

    jsonrpc: Literal["2.0"] = "2.0"
    id: int | None = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    error: WireError | None = None


class Memory(msgspec.Struct, frozen=True):
    """Bytes of weights, of KV cache, of scratch space with outputs, and of the process around them: Python,
    the libraries and the vocabulary. The last is measured: the process that plans has all of them too.
    `loading_bytes` are held besides, and only while the model is loaded; `spill_bytes` come with use.
    `context_shift` says whether an answer can go on when its context is full.
    """

    weights_bytes: int
    kv_bytes: int
    compute_bytes: int
    worker_bytes: int
    loading_bytes: int = 0
    spill_bytes: int = 0
    context_shift: bool = False


class Prediction(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the process that plans a model prints (`workers.estimating`): one of the two."""

    memory: Memory | None = None
    error: WireError | None = None
