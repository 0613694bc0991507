"""GGUF models by llama-cpp-python: real workers, the built-in model."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import tabagent_model
from msgspec.structs import replace

from native_host.protocol.errors import RpcError
from native_host.workers.messages import (
    DetokenizeRequest,
    EmbedRequest,
    Event,
    LoadOptions,
    Piece,
    Started,
    TemplateRequest,
    TokenizeRequest,
)
from native_host.workers.supervisor import Worker
from workers.real_workers import asked, chat, heard, loaded, prompts_of_tests

CONVERSATION = chat("What is a frame?").messages or []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker() -> AsyncIterator[Worker]:
    async with loaded("llama_cpp") as worker:
        yield worker


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_answers_as_the_engine_does(worker: Worker) -> None:
    """The same greedy tokens, for questions that the model was not trained on."""
    prompts = prompts_of_tests(50)
    assert len(prompts) == 50
    async with loaded("gguf") as engine:
        for prompt in prompts:
            request = chat(prompt, max_tokens=128, deterministic=True)
            expected = await heard(engine, request)
            assert (await heard(worker, request)).tokens == expected.tokens, prompt


async def test_text_and_templates_are_the_engines(worker: Worker) -> None:
    text = "naïve <|im_end|> 日本"
    async with loaded("gguf") as engine:
        for special in (False, True):
            request = TokenizeRequest(text, True, special)
            tokens = await worker.tokenize(request)
            assert tokens == await engine.tokenize(request)
            again = DetokenizeRequest(tokens)
            assert await worker.detokenize(again) == await engine.detokenize(again)
        template = TemplateRequest(CONVERSATION)
        assert await worker.apply_template(template) == await engine.apply_template(template)
        assert {*worker.info.capabilities, "embed"} == set(engine.info.capabilities)
        own: dict[str, object] = {"capabilities": [], "details": {}}
        assert replace(worker.info, **own) == replace(engine.info, **own)


async def test_a_prefix_is_shared_within_one_identity_only(worker: Worker) -> None:
    prompt = "The host answers to frames, and each worker holds a model."
    length = len(await worker.tokenize(TokenizeRequest(prompt)))
    cached = [
        (await heard(worker, request)).end.usage.cached_tokens
        for request in (
            asked(prompt, identity=1),
            asked(prompt, identity=1),
            asked(prompt, identity=2),
            asked(prompt, identity=2, prefix_cache=False),
            asked(prompt, identity=2),
        )
    ]
    assert cached == [0, length - 1, 0, 0, 0]


async def test_a_seed_draws_the_engines_tokens(worker: Worker) -> None:
    first, other = [asked(temperature=2.0, min_p=0.0, seed=seed, max_tokens=24) for seed in (2**52 + 1, 4)]
    async with loaded("gguf") as engine:
        assert (await heard(worker, first)).tokens == (await heard(engine, first)).tokens
    assert (await heard(worker, first)).tokens != (await heard(worker, other)).tokens


async def test_several_at_once_do_not_mix() -> None:
    questions = ["What is a frame?", "What is a worker?", "who are you", "What is a runtime pack?"]
    requests = [chat(question, max_tokens=24) for question in questions]
    async with loaded("llama_cpp", options=LoadOptions(threads=1, parallel=3)) as several:
        alone = [await heard(several, request) for request in requests]
        together = await asyncio.gather(*(heard(several, request) for request in requests * 2))
    assert [answer.text for answer in together] == [answer.text for answer in alone] * 2


async def test_log_probabilities_are_the_engines(worker: Worker) -> None:
    request = asked(max_tokens=4, logprobs=3)
    async with loaded("gguf") as engine:
        expected = [piece for piece in (await heard(engine, request)).events if isinstance(piece, Piece)]
    found = [piece for piece in (await heard(worker, request)).events if isinstance(piece, Piece)]
    ours = [token for piece in found for token in piece.tokens]
    theirs = [token for piece in expected for token in piece.tokens]
    assert [(token.token, token.text) for token in ours] == [(token.token, token.text) for token in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our.logprob == pytest.approx(their.logprob, abs=1e-3)
        assert [top.token for top in our.top] == [top.token for top in their.top]
        assert [top.logprob for top in our.top] == pytest.approx([top.logprob for top in their.top], abs=1e-3)


async def test_stops_limits_bias_and_ends(worker: Worker) -> None:
    whole = await heard(worker, chat("What is a frame?"))
    stop = whole.text[10:14]
    stopped = await heard(worker, chat("What is a frame?", stop=[stop]))
    assert stopped.text == whole.text[: whole.text.index(stop)]
    assert stopped.end.reason == whole.end.reason == "stop"
    short = await heard(worker, chat("What is a frame?", max_tokens=3))
    assert (short.end.reason, len(short.tokens)) == ("length", 3)
    nothing = await heard(worker, chat("What is a frame?", max_tokens=0))
    assert (nothing.end.reason, nothing.text) == ("length", "")
    biased = await heard(worker, asked(logit_bias={5: 100.0}, max_tokens=4))
    assert biased.tokens == [5] * 4
    endless = await heard(worker, chat("What is a frame?", ignore_eos=True, max_tokens=2000))
    assert endless.end.reason == "length"
    usage = endless.end.usage
    assert usage.prompt_tokens + usage.completion_tokens == worker.info.context_length
    repeated = asked("a a a a a a a a", max_tokens=12, repeat_penalty=1.5, presence_penalty=0.5)
    async with loaded("gguf") as engine:
        assert (await heard(worker, repeated)).tokens == (await heard(engine, repeated)).tokens


async def first_events(worker: Worker, batches: AsyncIterator[list[Event]], kind: type[Event]) -> None:
    async for batch in batches:
        if any(isinstance(event, kind) for event in batch):
            return


async def test_requests_take_turns_and_a_cancelled_one_gives_way(worker: Worker) -> None:
    endless = chat("What is a frame?", ignore_eos=True, max_tokens=900)
    async with worker.generate(endless) as batches:
        await first_events(worker, batches, Piece)
        waiting = asyncio.create_task(heard(worker, asked(max_tokens=2)))
        async with worker.generate(asked("never begun")):
            pass
    result = await waiting
    assert len(result.tokens) == 2
    assert isinstance(result.events[0], Started)


async def test_a_paused_request_lets_others_be_computed_and_goes_on(worker: Worker) -> None:
    request = chat("What is a frame?", ignore_eos=True, max_tokens=300)
    alone = await heard(worker, request)
    async with worker.generate(request) as batches:
        events: list[Event] = []
        async for batch in batches:
            events += batch
            if any(isinstance(event, Piece) for event in batch):
                break
        worker._set_pace(batches._id, True)
        other = await heard(worker, asked("The host", max_tokens=5))
        assert len(other.tokens) == 5
        worker._set_pace(batches._id, False)
        async for batch in batches:
            events += batch
    text = "".join(event.text for event in events if isinstance(event, Piece))
    assert text[:200] == alone.text[:200]
    assert len([t for event in events if isinstance(event, Piece) for t in event.tokens]) == 300


@pytest.mark.parametrize(
    ("request_changes", "kind"),
    [
        ({"prompt": [1, 10**6]}, "invalid_params"),
        ({"prompt": []}, "invalid_params"),
        ({"prompt": "word " * 3000}, "input_too_long"),
        ({"prompt": "x" * 10**6}, "input_too_long"),
        ({"logit_bias": {10**6: 1.0}}, "invalid_params"),
    ],
)
async def test_what_is_refused(worker: Worker, request_changes: dict[str, object], kind: str) -> None:
    with pytest.raises(RpcError) as caught:
        await heard(worker, asked(**request_changes))  # type: ignore[arg-type]
    assert caught.value.kind == kind


async def test_what_it_cannot_do_is_said(worker: Worker) -> None:
    with pytest.raises(RpcError) as caught:
        await worker.embed(EmbedRequest(["x"]))
    assert caught.value.kind == "unsupported"
    with pytest.raises(RpcError) as caught:
        async with loaded("llama_cpp", options=LoadOptions(kv_cache_tokens=512)):
            pass
    assert caught.value.kind == "unsupported"


async def test_a_pack_that_the_guard_does_not_know_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = Path(tabagent_model.get_optimal_binary("libllama.so")).parent
    shutil.copytree(pack, tmp_path / "pack")
    manifest = tmp_path / "pack" / "manifest.json"
    said = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**said, "source": "llama-cpp-python 0.3.35"}))
    monkeypatch.setenv("TABAGENT_RUNTIME_DIR", str(tmp_path / "pack"))
    with pytest.raises(RpcError) as caught:
        async with loaded("llama_cpp"):
            pass
    assert caught.value.kind == "model_load_failed"
    assert "0.3.35" in caught.value.data["reason"]


async def test_files_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no model at all " * 100)
    for name, kind in (("text.gguf", "invalid_model_file"), ("absent.gguf", "invalid_model_file")):
        with pytest.raises(RpcError) as caught:
            async with loaded("llama_cpp", tmp_path / name):
                pass
        assert caught.value.kind == kind
