"""Kept answers, over a real worker process whose backend is a fake (tests/workers/fake_backend_worker.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from native_host.models.manager import ModelManager
from native_host.models.registry import Registry
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.protocol.identity import Identity
from native_host.protocol.messages import GenerateParams, GenerateResult, ResponseFormat, Timings
from native_host.service import Service
from native_host.workers.messages import LoadOptions

from .recording import RecordingContext


async def ask(
    service: Service, who: str = "ann", context: RecordingContext | None = None, **params: object
) -> GenerateResult:
    context = context or RecordingContext()
    context.identity = Identity("api_key", who)
    given: dict[str, Any] = {"prompt": "one two", "temperature": 0.0, "response_cache": True, **params}
    answer = await service.handle("generate", GenerateParams(**given), context)
    assert isinstance(answer, GenerateResult)
    return answer


async def test_the_same_request_is_answered_from_before_and_says_so(service: Service) -> None:
    first, second = await ask(service), await ask(service)
    assert (first.cached, second.cached) == (False, True)
    assert (second.text, second.usage, second.finish_reason) == (first.text, first.usage, first.finish_reason)
    assert second.timings == Timings()


async def test_an_answer_is_streamed_as_if_it_had_been_computed(service: Service) -> None:
    await ask(service, stream=True)
    context = RecordingContext()
    again = await ask(service, context=context, stream=True)
    assert again.cached
    assert context.pieces == [("2 1 ", None)]
    await ask(service, prompt=None, prompts=["a", "a b"])
    context = RecordingContext()
    assert (await ask(service, context=context, prompt=None, prompts=["a", "a b"], stream=True)).cached
    assert context.pieces == [("1 ", 0), ("2 1 ", 1)]


async def test_nobody_gets_anothers_answer(service: Service) -> None:
    await ask(service, "ann")
    assert (await ask(service, "bob")).cached is False
    assert (await ask(service, "bob")).cached is True


@pytest.mark.parametrize(
    "other", [{"prompt": "one three"}, {"max_tokens": 3}, {"stop": "1"}, {"seed": 1}, {"top_k": 1}]
)
async def test_another_request_is_another_answer(service: Service, other: dict[str, Any]) -> None:
    await ask(service)
    assert (await ask(service, **other)).cached is False


async def test_a_schema_whose_properties_come_in_another_order_has_another_answer(service: Service) -> None:
    def form(*names: str) -> ResponseFormat:
        properties = {name: {"type": "string"} for name in names}
        return ResponseFormat(type="json_schema", json_schema={"type": "object", "properties": properties})

    assert (await ask(service, response_format=form("a", "b"))).cached is False
    assert (await ask(service, response_format=form("b", "a"))).cached is False
    assert (await ask(service, response_format=form("a", "b"))).cached is True


async def test_what_changes_no_answer_makes_no_other_request(service: Service) -> None:
    await ask(service)
    assert (await ask(service, stream=True, timeout_s=60.0, priority=3, model="fine")).cached is True


async def test_only_answers_that_are_always_the_same_are_kept(service: Service) -> None:
    for _ in range(2):
        assert (await ask(service, temperature=0.7)).cached is False
    assert (await ask(service, temperature=0.7, seed=5)).cached is False
    assert (await ask(service, temperature=0.7, seed=5)).cached is True


async def test_those_who_do_not_ask_for_it_neither_keep_nor_get_any(service: Service) -> None:
    assert (await ask(service, response_cache=False)).cached is None
    assert (await ask(service)).cached is False
    assert (await ask(service, response_cache=False)).cached is None


async def test_an_answer_of_other_weights_is_none(
    service: Service, tmp_path: Path, manager: ModelManager
) -> None:
    await ask(service)
    os.utime(tmp_path / "fine", ns=(1, 1))
    assert (await ask(service)).cached is True  # of the model as it was loaded
    await manager.unload("fine")
    assert (await ask(service)).cached is False


async def test_an_answer_of_a_model_opened_otherwise_is_none(service: Service, manager: ModelManager) -> None:
    await ask(service)
    await manager.load("fine", LoadOptions(kv_type="q8_0"))
    assert (await ask(service)).cached is False


async def test_a_servers_model_may_change_unseen() -> None:
    entry = ModelEntry(path="far", type="ollama")
    spec = ModelSpec("far", entry, "ollama", None)
    assert ModelManager(Registry([spec])).fingerprint(spec) is None
