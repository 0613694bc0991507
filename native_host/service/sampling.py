"""From the params of an inference request to what a worker is told: defaults settled, nonsense refused."""

from __future__ import annotations

import hashlib
import math
import secrets

import msgspec

from native_host.models.spec import Sampling
from native_host.protocol import errors
from native_host.protocol.identity import Identity
from native_host.protocol.messages import InferenceParams, ResponseFormat
from native_host.workers.messages import AdapterUse, ChatMessage, Form, GenerateRequest

TEMPERATURE = 0.7
TOP_P = 0.95
TOP_K = 40
MIN_P = 0.05

MAX_STOPS = 16
MAX_BIAS = 100.0
SEED_BITS = 53
"""A seed that the host draws is exact in every JSON reader, JavaScript's included."""


def draw_seed(params: InferenceParams) -> int:
    """The seed asked for, or a random one."""
    return params.seed if params.seed is not None else secrets.randbits(SEED_BITS)


def is_greedy(params: InferenceParams, own: Sampling) -> bool:
    """Whether the likeliest token is taken at every position."""
    return _first(params.temperature, own.temperature, TEMPERATURE) == 0


def engine_request(
    params: InferenceParams,
    own: Sampling,
    seed: int,
    source: str | list[int] | list[ChatMessage],
    identity: int = 0,
    system_prompt: str | None = None,
) -> GenerateRequest:
    """What the worker is to generate: the params, else the model's own defaults, else the host's.

    `source` is a prompt, its token ids, or a conversation; `system_prompt` is the model's own.
    """
    messages = [part for part in source if isinstance(part, ChatMessage)] if isinstance(source, list) else []
    prompt = source if isinstance(source, str) else [part for part in source if isinstance(part, int)]
    return GenerateRequest(
        prompt=None if messages else prompt,
        messages=messages or None,
        max_tokens=params.max_tokens,
        temperature=_first(params.temperature, own.temperature, TEMPERATURE),
        top_p=_first(params.top_p, own.top_p, TOP_P),
        top_k=int(_first(params.top_k, own.top_k, TOP_K)),
        min_p=_first(params.min_p, own.min_p, MIN_P),
        repeat_penalty=_first(params.repeat_penalty, own.repeat_penalty, 1.0),
        presence_penalty=_first(params.presence_penalty, own.presence_penalty, 0.0),
        frequency_penalty=_first(params.frequency_penalty, own.frequency_penalty, 0.0),
        logit_bias=_logit_bias(params),
        seed=seed,
        stop=_stop(params),
        logprobs=params.logprobs,
        ignore_eos=params.ignore_eos,
        priority=params.priority,
        prefix_cache=params.prefix_cache,
        deterministic=params.deterministic,
        identity=identity,
        form=form_of(params.response_format),
        public_system=system_prompt is not None and messages[:1] == [ChatMessage("system", system_prompt)],
        adapters=[AdapterUse(each.name, each.scale) for each in params.adapters or []],
    )


def form_of(asked: ResponseFormat | None) -> Form | None:
    """The form that a request asks for; `None` for plain text. Raises invalid_params."""
    if asked is None or asked.type == "text":
        _refuse_members(asked, None)
        return None
    if asked.type == "json_object":
        _refuse_members(asked, None)
        return Form("json_object")
    _refuse_members(asked, asked.type)
    given = getattr(asked, asked.type)
    if given is None:
        raise errors.invalid_params(f"response_format.{asked.type}", "is missing")
    if asked.type == "json_schema":
        return Form("json_schema", msgspec.json.encode(given).decode())
    return Form(asked.type, given)


def _refuse_members(asked: ResponseFormat | None, allowed: str | None) -> None:
    """Refuse members that belong to another type of form."""
    for name in ("json_schema", "regex", "grammar"):
        if asked is not None and name != allowed and getattr(asked, name) is not None:
            raise errors.invalid_params(f"response_format.{name}", f"does not go with type {asked.type}")


def cache_identity(identity: Identity) -> int:
    """A number for an identity that no other is likely to have, so that nobody learns from timings what
    others asked.
    """
    return int.from_bytes(hashlib.sha256(identity.owner.encode()).digest()[:8], "big") >> 1


def _first(asked: float | None, own: float | None, default: float) -> float:
    if asked is not None:
        return asked
    return default if own is None else own


def _logit_bias(params: InferenceParams) -> dict[int, float]:
    for token, bias in (params.logit_bias or {}).items():
        if not math.isfinite(bias) or abs(bias) > MAX_BIAS:
            raise errors.invalid_params(f"logit_bias.{token}", f"must be within ±{MAX_BIAS:g}, not {bias:g}")
    return params.logit_bias or {}


def _stop(params: InferenceParams) -> list[str]:
    stops = [params.stop] if isinstance(params.stop, str) else params.stop or []
    if len(stops) > MAX_STOPS:
        raise errors.invalid_params("stop", f"at most {MAX_STOPS} stop strings, not {len(stops)}")
    if "" in stops:
        path = "stop" if isinstance(params.stop, str) else f"stop[{stops.index('')}]"
        raise errors.invalid_params(path, "is empty")
    return stops
