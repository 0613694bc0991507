"""What each convenience method asks for: a method, its params, the type of the answer. For both faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar

import msgspec

from native_host.client.forms import ResponseFormat, response_format
from native_host.client.session import Progress
from native_host.client.tools import Tool, choice, described
from native_host.protocol import messages
from native_host.protocol.messages import Finish, GeneratedText, InferenceResult, TokenLogprob

R = TypeVar("R")

Json = dict[str, Any] | list[Any] | str | int | float | bool | None
"""Any JSON value."""

Conversation = str | Sequence[Mapping[str, object]]
"""A question, or messages: `{"role": "system" | "user" | "assistant", "content": …}`."""

Prompt = str | Sequence[int]
"""Text, or token ids."""

OnProgress = Callable[[Progress], None]


class _Named(TypedDict):
    name: str


class Adapter(_Named, total=False):
    """An adapter of the model, by name, and how strongly it applies (1.0 by default)."""

    scale: float


class Options(TypedDict, total=False):
    """How an answer is to be made. What is left out is the model's own default (`docs/protocol.md`,
    Inference).

    `timeout_s` is the host's: it answers RpcError of kind `timeout`, with the text so far.
    """

    model: str | None
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float]
    seed: int
    stop: str | Sequence[str]
    logprobs: int
    ignore_eos: bool
    deterministic: bool
    prefix_cache: bool
    response_cache: bool
    resumable: bool
    priority: int
    timeout_s: float
    response_format: ResponseFormat
    adapters: Sequence[Adapter]


class ChatOptions(Options, total=False):
    """How a conversation is to be answered. `session` is the name of one: the conversation then is what is
    new in it. A call of a tool is in the answer's `message.tool_calls`; send that message back, each call
    followed by `{"role": "tool", "tool_call_id": …, "content": …}`. `prompt` names a system prompt of the
    host's, whose template takes `prompt_variables`.
    """

    session: str
    prompt: str
    prompt_variables: Mapping[str, str]
    tools: Sequence[Tool]
    tool_choice: Literal["auto", "none", "required"] | Tool
    parallel_tool_calls: bool
    documents: Sequence[Mapping[str, object]]
    chat_template_kwargs: Mapping[str, object]


class MemoryOptions(TypedDict, total=False):
    """What decides how much memory a model takes; what is left out is as `models.json` has it."""

    context_length: int
    gpu_layers: int
    parallel: int
    kv_cache_tokens: int
    kv_type: Literal["f32", "f16", "q8_0", "q4_0"]
    flash_attention: Literal["auto", "on", "off"]


class LoadOptions(MemoryOptions, total=False):
    """How a model is to be opened, this once; what is left out is as `models.json` has it, and what is given
    is written as there.
    """

    device: str
    quantization: str
    max_memory: str | int | dict[str, str | int]
    keep_alive: str | int | float
    threads: int
    mlock: bool


class Generated(InferenceResult, kw_only=True):
    """Answer to `generate` for one prompt."""

    text: str
    finish_reason: Finish
    logprobs: list[TokenLogprob] | None = None


class GeneratedMany(InferenceResult, kw_only=True):
    """Answer to `generate` for several prompts, in their order; `usage` is that of all."""

    texts: list[GeneratedText]


@dataclass(frozen=True)
class Question(Generic[R]):
    """One request, and how to read the JSON of its result (may raise msgspec.DecodeError)."""

    method: str
    params: dict[str, object]
    read: Callable[[bytes], R]


def chat(conversation: Conversation, options: ChatOptions) -> Question[messages.ChatResult]:
    """`chat`, streamed."""
    said = (
        [{"role": "user", "content": conversation}] if isinstance(conversation, str) else list(conversation)
    )
    params = {"messages": said, "stream": True, **_settled(options)}
    if "tools" in options:
        params["tools"] = [described(tool) for tool in options["tools"]]
    if "tool_choice" in options:
        params["tool_choice"] = choice(options["tool_choice"])
    return _question("chat", params, messages.ChatResult)


def stream(prompt: Prompt, options: Options) -> Question[Generated]:
    """`generate` for one prompt, streamed."""
    params = {"prompt": _text_or_tokens(prompt), "stream": True, **_settled(options)}
    return _question("generate", params, Generated)


def generate(prompt: Prompt, options: Options) -> Question[Generated]:
    """`generate` for one prompt."""
    return _question("generate", {"prompt": _text_or_tokens(prompt), **_settled(options)}, Generated)


def generate_many(prompts: Sequence[str], options: Options) -> Question[GeneratedMany]:
    """`generate` for several prompts."""
    return _question("generate", {"prompts": list(prompts), **_settled(options)}, GeneratedMany)


def resume(stream: str, from_seq: int) -> Question[Generated | messages.ChatResult]:
    """`streams.resume`."""
    return Question("streams.resume", {"stream": stream, "from_seq": from_seq}, _either)


def create_session(model: str | None, system: str | None, ttl_s: float | None) -> Question[str]:
    """`sessions.create`, as the session's name."""
    params = {"model": model, "system": system, "ttl_s": ttl_s}
    return Question(
        "sessions.create", _given(params), lambda raw: _decode(raw, messages.SessionsCreateResult).session
    )


def session(name: str) -> Question[messages.SessionsGetResult]:
    """`sessions.get`."""
    return _question("sessions.get", {"session": name}, messages.SessionsGetResult)


def sessions() -> Question[list[messages.SessionListing]]:
    """`sessions.list`."""
    return Question(
        "sessions.list", {}, lambda raw: msgspec.json.decode(raw, type=list[messages.SessionListing])
    )


def delete_session(name: str) -> Question[None]:
    """`sessions.delete`."""
    return Question("sessions.delete", {"session": name}, lambda raw: None)


def tokenize(text: str, model: str | None, add_special: bool, parse_special: bool) -> Question[list[int]]:
    """`tokenize`, as a plain list."""
    params = {"text": text, "model": model, "add_special": add_special, "parse_special": parse_special}
    return Question("tokenize", _given(params), lambda raw: _decode(raw, messages.TokenizeResult).tokens)


def detokenize(tokens: Sequence[int], model: str | None) -> Question[str]:
    """`detokenize`, as a plain string."""
    params = {"tokens": list(tokens), "model": model}
    return Question("detokenize", _given(params), lambda raw: _decode(raw, messages.DetokenizeResult).text)


def models() -> Question[list[messages.ModelListing]]:
    """`models.list`."""
    return Question("models.list", {}, lambda raw: msgspec.json.decode(raw, type=list[messages.ModelListing]))


def inspect(model: str | None, path: Path | str | None) -> Question[messages.ModelInspection]:
    """`models.inspect`; a path is made absolute, because the host's working directory is its own."""
    absolute = None if path is None else str(Path(path).absolute())
    return _question("models.inspect", {"model": model, "path": absolute}, messages.ModelInspection)


def estimate(model: str | None, options: MemoryOptions) -> Question[messages.ModelsEstimateResult]:
    """`models.estimate`."""
    return _question("models.estimate", {"model": model, **options}, messages.ModelsEstimateResult)


def load(model: str | None, options: LoadOptions) -> Question[messages.ModelsLoadResult]:
    """`models.load`."""
    return _question("models.load", {"model": model, **options}, messages.ModelsLoadResult)


def unload(model: str, force: bool) -> Question[None]:
    """`models.unload`."""
    return Question("models.unload", {"model": model, "force": force}, lambda raw: None)


def pull(source: str, name: str | None) -> Question[messages.ModelsPullResult]:
    """`models.pull`; a file's path is made absolute, because the host's working directory is its own."""
    if source.startswith("file:") and not source.startswith("file:/"):
        source = f"file:{Path(source.removeprefix('file:')).expanduser().absolute()}"
    return _question("models.pull", {"source": source, "name": name}, messages.ModelsPullResult)


def import_models(origin: str | Path, dry_run: bool) -> Question[messages.ModelsImportResult]:
    """`models.import`; a folder's path is made absolute."""
    told = str(origin)
    if isinstance(origin, Path) or "/" in told:
        told = str(Path(told).expanduser().absolute())
    return _question("models.import", {"from": told, "dry_run": dry_run}, messages.ModelsImportResult)


def delete(model: str, force: bool) -> Question[messages.ModelsDeleteResult]:
    """`models.delete`."""
    return _question("models.delete", {"model": model, "force": force}, messages.ModelsDeleteResult)


def recommend(context_length: int | None) -> Question[messages.ModelsRecommendResult]:
    """`models.recommend`."""
    return _question("models.recommend", {"context_length": context_length}, messages.ModelsRecommendResult)


def hardware() -> Question[messages.HardwareInfoResult]:
    """`hardware.info`."""
    return _question("hardware.info", {}, messages.HardwareInfoResult)


def ping() -> Question[messages.PingResult]:
    """`ping`."""
    return _question("ping", {}, messages.PingResult)


def health() -> Question[messages.HealthResult]:
    """`health`."""
    return _question("health", {}, messages.HealthResult)


def anything(method: str, params: Mapping[str, object] | None) -> Question[Json]:
    """Any method, read as plain JSON."""
    return Question(method, dict(params or {}), msgspec.json.decode)


def _question(method: str, params: dict[str, object], answer: type[R]) -> Question[R]:
    return Question(method, _given(params), lambda raw: _decode(raw, answer))


def _either(raw: bytes) -> Generated | messages.ChatResult:
    """An answer of `generate` or of `chat`."""
    if b'"message"' in raw and "message" in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]):
        return _decode(raw, messages.ChatResult)
    return _decode(raw, Generated)


def _decode(raw: bytes, answer: type[R]) -> R:
    return msgspec.json.decode(raw, type=answer)


def _settled(options: Options | ChatOptions) -> dict[str, object]:
    """The options as the wire has them."""
    settled: dict[str, object] = {**options}
    if "response_format" in options:
        settled["response_format"] = response_format(options["response_format"])
    return settled


def _given(params: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in params.items() if value is not None}


def _text_or_tokens(prompt: Prompt) -> object:
    return prompt if isinstance(prompt, str) else list(prompt)
