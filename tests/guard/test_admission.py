"""What a request may cost and hold, before a FAKE handler that answers with what it was asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from service.recording import RecordingContext

from native_host.guard.admission import Admission
from native_host.guard.content import ContentRules
from native_host.guard.limits import UsageLimits
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity, Quotas
from native_host.protocol.messages import (
    EmbedParams,
    EmbedResult,
    GenerateParams,
    GenerateResult,
    ModelsInspectParams,
    ModelsLoadParams,
    Params,
    Partial,
    StreamsResumeParams,
    Timings,
    Usage,
)
from native_host.service.context import RequestContext

BOT = Identity("api_key", "bot", quotas=Quotas(tokens_per_day=10, concurrent=1), model="own")


class FakeHandler:
    """Keeps what it is asked; each answer takes 4 tokens, 3 of them of the prompt."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Params]] = []
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        self.asked.append((method, params))
        usage = Usage(prompt_tokens=3, completion_tokens=1, cached_tokens=2)
        context.partial.usage = usage
        self.began.set()
        await self.go.wait()
        if isinstance(params, EmbedParams):
            return EmbedResult(embeddings=[[1.0]], dimensions=1, model="m", usage=usage)
        if isinstance(params, GenerateParams) and params.prompt == "fail":
            raise errors.worker_crashed()
        return GenerateResult(
            text="x", finish_reason="stop", model="m", usage=usage, timings=Timings(), seed=0
        )


@pytest.fixture
def handler() -> FakeHandler:
    return FakeHandler()


def context(identity: Identity = BOT) -> RecordingContext:
    made = RecordingContext()
    made.identity = identity
    return made


async def test_a_keys_model_is_used_where_none_is_named(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits())
    await admission.handle("generate", GenerateParams(prompt="x"), context())
    await admission.handle("generate", GenerateParams(prompt="x", model="other"), context())
    await admission.handle("models.inspect", ModelsInspectParams(path="/f"), context())
    models = [getattr(params, "model", None) for _, params in handler.asked]
    assert models == ["own", "other", None]


async def test_the_tokens_of_a_day(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits())
    await admission.handle("generate", GenerateParams(prompt="x"), context())
    with pytest.raises(RpcError, match="died"):
        await admission.handle("generate", GenerateParams(prompt="fail"), context())
    await admission.handle("embed", EmbedParams(input="x"), context())  # 12 of 10
    with pytest.raises(RpcError) as refused:
        await admission.handle("generate", GenerateParams(prompt="x"), context())
    assert refused.value.kind == "quota_exceeded"
    assert len(handler.asked) == 3
    await admission.handle("models.inspect", ModelsInspectParams(path="/f"), context())


async def test_a_cancelled_request_has_used_what_it_had_made(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits())
    for _ in range(3):
        handler.go.clear()
        handler.began.clear()
        task = asyncio.create_task(admission.handle("generate", GenerateParams(prompt="x"), context()))
        await handler.began.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    with pytest.raises(RpcError, match="tokens of the day"):
        await admission.handle("generate", GenerateParams(prompt="x"), context())


async def test_a_stream_that_several_requests_read_is_counted_once(handler: FakeHandler) -> None:
    admission, stream = Admission(handler, UsageLimits()), Partial()
    resume = StreamsResumeParams(stream="s", from_seq=0)
    for method, params in [("generate", GenerateParams(prompt="x")), *[("streams.resume", resume)] * 9]:
        read = context()
        read.take_up("s", 0, stream)
        await admission.handle(method, params, read)
    assert stream.counted == 4
    for _ in range(2):  # 12 of 10
        await admission.handle("generate", GenerateParams(prompt="x"), context())
    with pytest.raises(RpcError, match="tokens of the day"):
        await admission.handle("streams.resume", resume, context())


async def test_what_a_stream_produces_while_its_peer_is_away_is_counted(handler: FakeHandler) -> None:
    admission, stream = Admission(handler, UsageLimits()), Partial()
    stream.usage, stream.counted = Usage(prompt_tokens=2, completion_tokens=0, cached_tokens=0), 2
    read = context()
    read.take_up("s", 0, stream)
    await admission.handle("streams.resume", StreamsResumeParams(stream="s", from_seq=0), read)
    assert stream.counted == 4


async def test_so_many_requests_at_once(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits())
    handler.go.clear()
    first = asyncio.create_task(admission.handle("generate", GenerateParams(prompt="x"), context()))
    await handler.began.wait()
    with pytest.raises(RpcError, match="1 requests at once"):
        await admission.handle("generate", GenerateParams(prompt="x"), context())
    handler.go.set()
    await first
    await admission.handle("generate", GenerateParams(prompt="x"), context())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        (GenerateParams(prompt="x" * 11), {"bytes": 11, "limit": 10}),
        (GenerateParams(prompt="äääääx"), {"bytes": 11, "limit": 10}),
        (GenerateParams(prompts=["x" * 5, "x" * 6]), {"bytes": 11, "limit": 10}),
        (GenerateParams(prompt=[1] * 11), {"tokens": 11, "limit": 10}),
        (EmbedParams(input=["x" * 11]), {"bytes": 11, "limit": 10}),
    ],
)
async def test_prompts_that_are_too_long(handler: FakeHandler, params: Params, told: dict[str, int]) -> None:
    admission = Admission(handler, UsageLimits(), max_prompt=10)
    method = "embed" if isinstance(params, EmbedParams) else "generate"
    with pytest.raises(RpcError) as refused:
        await admission.handle(method, params, context())
    assert refused.value.data == {"kind": "input_too_long", **told}
    await admission.handle("generate", GenerateParams(prompt="ääääx"), context())
    assert len(handler.asked) == 1


async def test_answers_are_cut_to_the_operators_limit(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits(), max_tokens=100)
    for asked in (5000, 100, 7):
        await admission.handle("generate", GenerateParams(prompt="x", max_tokens=asked), context(LOCAL))
    assert [params.max_tokens for _, params in handler.asked if isinstance(params, GenerateParams)] == [
        100,
        100,
        7,
    ]


LOCAL = Identity("local", "local")


async def test_content_rules_are_asked_before_the_model(handler: FakeHandler, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    classifier = {"by": "embed", "name": "like", "model": "e", "examples": ["y"], "threshold": 0.5}
    file.write_text(json.dumps({"rules": [{"name": "r", "pattern": "bad"}], "classifiers": [classifier]}))
    admission = Admission(handler, UsageLimits(), rules=ContentRules.load(file))
    with pytest.raises(RpcError, match="'r'"):
        await admission.handle("generate", GenerateParams(prompt="bad"), context(LOCAL))
    assert handler.asked == []
    with pytest.raises(RpcError, match="'like'"):
        await admission.handle("generate", GenerateParams(prompt="x"), context(LOCAL))
    assert [method for method, _ in handler.asked] == ["embed", "embed"]


async def test_streams_that_outlive_their_request_are_counted_by_whoever_runs_them(
    handler: FakeHandler,
) -> None:
    admission = Admission(handler, UsageLimits())
    handler.go.clear()
    asked: list[tuple[str, Params]] = [
        ("generate", GenerateParams(prompt="x", stream=True, resumable=True)),
        ("streams.resume", StreamsResumeParams(stream="s", from_seq=0)),
        ("generate", GenerateParams(prompt="x")),
    ]
    running = [asyncio.create_task(admission.handle(*each, context())) for each in asked]
    while len(handler.asked) < len(asked):
        handler.began.clear()
        await handler.began.wait()
    handler.go.set()
    await asyncio.gather(*running)


async def test_what_content_rules_ask_counts_for_streams_that_outlive_their_request_too(
    handler: FakeHandler, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.json"
    classifier = {"by": "chat", "name": "c", "model": "m", "prompt": "{text}", "reject": "never"}
    rules.write_text(json.dumps({"classifiers": [classifier]}))
    admission = Admission(handler, UsageLimits(), rules=ContentRules.load(rules))
    handler.go.clear()
    asked = GenerateParams(prompt="x", stream=True, resumable=True)
    first = asyncio.create_task(admission.handle("generate", asked, context()))
    await handler.began.wait()  # the classifier's question
    with pytest.raises(RpcError) as caught:
        await admission.handle("generate", asked, context())
    assert caught.value.kind == "rate_limited"
    handler.go.set()
    await asyncio.gather(first, return_exceptions=True)


READER = Identity("api_key", "reader", frozenset({"models.read", "models.load"}))
WRITER = Identity("api_key", "writer", frozenset({"models.read", "models.write"}))
OVERRIDES: dict[str, object] = {
    "device": "cpu",
    "quantization": "4bit",
    "max_memory": "1GB",
    "keep_alive": 0,
    "context_length": 2_000_000_000,
    "threads": 1,
    "gpu_layers": 0,
    "mlock": False,
    "parallel": 1,
    "kv_cache_tokens": 1,
    "kv_type": "f16",
    "flash_attention": "off",
}


def test_every_member_that_overrides_something_is_known_here() -> None:
    assert {"model", *OVERRIDES} == set(ModelsLoadParams.__struct_fields__)


@pytest.mark.parametrize("name", OVERRIDES)
async def test_who_may_only_load_models_overrides_nothing(handler: FakeHandler, name: str) -> None:
    admission = Admission(handler, UsageLimits())
    plain = ModelsLoadParams(model="m")
    asked = msgspec.structs.replace(plain, **{name: OVERRIDES[name]})
    with pytest.raises(RpcError, match=f"not choose their {name}") as caught:
        await admission.handle("models.load", asked, context(READER))
    assert caught.value.data == {"kind": "permission_denied", "scope": "models.write"}
    for params, identity in ((plain, READER), (asked, WRITER), (asked, Identity("local", "local"))):
        await admission.handle("models.load", params, context(identity))
    assert [params for _, params in handler.asked] == [plain, asked, asked]


async def test_a_key_that_may_only_look_at_models_looks_at_no_files(handler: FakeHandler) -> None:
    admission = Admission(handler, UsageLimits())
    await admission.handle("models.inspect", ModelsInspectParams(model="m"), context(READER))
    with pytest.raises(RpcError) as caught:
        await admission.handle("models.inspect", ModelsInspectParams(path="~root/x"), context(READER))
    assert caught.value.data == {"kind": "permission_denied", "scope": "models.write"}
    await admission.handle("models.inspect", ModelsInspectParams(path="/f"), context(WRITER))
    assert len(handler.asked) == 2
