"""Defaults and refusals of the params that `generate` and `chat` share."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from native_host.models.spec import Sampling
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import InferenceParams
from native_host.service.sampling import cache_identity, draw_seed, engine_request
from native_host.workers.messages import ChatMessage, GenerateRequest


def settle(own: Sampling | None = None, **params: object) -> GenerateRequest:
    return engine_request(msgspec.convert(params, InferenceParams), own or Sampling(), 7, "hello")


def test_the_host_s_defaults() -> None:
    request = settle()
    chosen = (request.temperature, request.top_p, request.top_k, request.min_p, request.max_tokens)
    assert chosen == (0.7, 0.95, 40, 0.05, 512)
    assert (request.repeat_penalty, request.presence_penalty, request.frequency_penalty) == (1.0, 0.0, 0.0)
    assert (request.seed, request.prompt, request.messages) == (7, "hello", None)


def test_the_model_s_own_defaults_come_before_them_and_the_request_before_both() -> None:
    own = Sampling(temperature=0.1, top_k=5)
    request = settle(own, top_k=0)
    assert (request.temperature, request.top_k, request.top_p) == (0.1, 0, 0.95)


def test_a_zero_that_was_asked_for_is_no_missing_value() -> None:
    request = settle(Sampling(temperature=0.9, min_p=0.2), temperature=0.0, min_p=0.0)
    assert (request.temperature, request.min_p) == (0.0, 0.0)


def test_sources() -> None:
    params = InferenceParams()
    assert engine_request(params, Sampling(), 1, [1, 2]).prompt == [1, 2]
    chat = engine_request(params, Sampling(), 1, [ChatMessage("user", "hi")])
    assert (chat.prompt, chat.messages) == (None, [ChatMessage("user", "hi")])


def test_seeds() -> None:
    assert draw_seed(InferenceParams(seed=0)) == 0
    drawn = {draw_seed(InferenceParams()) for _ in range(50)}
    assert len(drawn) == 50
    assert max(drawn) < 2**53


def test_prefixes_and_determinism_are_the_engine_s_affair() -> None:
    assert settle().prefix_cache
    assert not settle(prefix_cache=False).prefix_cache
    assert settle(deterministic=True).deterministic
    assert not settle().deterministic


def test_identities_share_no_prefixes() -> None:
    known = {cache_identity(Identity("origin", name)) for name in ("a", "b")}
    known.add(cache_identity(Identity("api_key", "a")))
    assert len(known) == 3
    assert cache_identity(Identity("origin", "a")) in known
    assert all(0 <= number < 2**63 for number in known)


def test_stop_is_a_string_or_a_list() -> None:
    assert settle(stop="x").stop == ["x"]
    assert settle(stop=["x", "y"]).stop == ["x", "y"]


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"stop": ""}, "stop"),
        ({"stop": ["x", ""]}, "stop[1]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logit_bias": {5: 1e300}}, "logit_bias.5"),
    ],
)
def test_refusals_name_the_place(params: dict[str, Any], path: str) -> None:
    with pytest.raises(RpcError) as caught:
        settle(**params)
    assert caught.value.kind == "invalid_params"
    assert caught.value.data["path"] == path


def test_only_the_models_own_system_prompt_is_public() -> None:
    said = [ChatMessage("system", "Be brief."), ChatMessage("user", "hi")]

    def public(source: list[ChatMessage], own: str | None) -> bool:
        return engine_request(InferenceParams(), Sampling(), 1, source, 0, own).public_system

    assert public(said, "Be brief.")
    assert not public(said, "Be long.")
    assert not public(said, None)
    assert not public(said[1:], "Be brief.")
