"""Models that a tree's own llama-server computes: everything with a stand-in (llama_server_stand_in.py), and
the same answers as the engine's with the real one, where that is built.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import tabagent_model
from runtime_build import cache

from native_host.protocol.errors import RpcError
from native_host.workers.messages import (
    DetokenizeRequest,
    EmbedRequest,
    LoadOptions,
    Piece,
    TemplateRequest,
    TokenizeRequest,
)
from native_host.workers.supervisor import Worker
from workers.real_workers import asked, chat, heard, loaded, prompts_of_tests

STAND_IN = Path(__file__).with_name("llama_server_stand_in.py")
REAL = next(cache.directory("tools").glob("*/llama-server"), None)


def plant(root: Path, variant: str) -> Path:
    """A tree whose only llama-server is the stand-in."""
    folder = root / "BitNet" / "Release" / "cpu" / tabagent_os() / variant
    folder.mkdir(parents=True)
    server = folder / "llama-server"
    server.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
    server.chmod(0o700)
    return server


def tabagent_os() -> str:
    return {"linux": "Linux", "darwin": "macOS"}[sys.platform]


@pytest.fixture
async def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Worker]:
    plant(tmp_path, "standard")
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    async with loaded("llama_server", options=LoadOptions(threads=1, parallel=2)) as worker:
        yield worker


def children(worker: Worker) -> list[psutil.Process]:
    assert worker.pid is not None
    return psutil.Process(worker.pid).children()


async def test_what_it_says_of_itself(worker: Worker) -> None:
    info = worker.info
    assert (info.context_length, info.context_train_size, info.vocab_size, info.embedding_dim) == (
        256,
        512,
        256,
        8,
    )
    assert info.capabilities == ["generate", "tokenize", "chat"]


async def test_text_goes_through_the_server(worker: Worker) -> None:
    tokens = await worker.tokenize(TokenizeRequest("é"))
    assert tokens == [0xC3, 0xA9]
    assert await worker.detokenize(DetokenizeRequest(tokens)) == "é"
    assert await worker.apply_template(TemplateRequest(chat("hi [yes]").messages or [])) == "hi [yes]"


async def test_answers_stops_and_limits(worker: Worker) -> None:
    whole = await heard(worker, chat("hi [yes]"))
    assert (whole.text, whole.tokens, whole.end.reason) == ("yes", list(b"yes"), "stop")
    assert (whole.end.usage.prompt_tokens, whole.end.usage.completion_tokens) == (8, 3)
    short = await heard(worker, asked("[yes]", max_tokens=2))
    assert (short.text, short.end.reason) == ("ye", "length")
    stopped = await heard(worker, asked("[one two three]", stop=["wo t", "zzz"]))
    assert (stopped.text, stopped.end.reason) == ("one t", "stop")
    nothing = await heard(worker, asked("[x]", max_tokens=0))
    assert (nothing.text, nothing.end.reason) == ("", "length")


async def test_log_probabilities(worker: Worker) -> None:
    told = await heard(worker, asked("[a]", logprobs=1))
    (token,) = [token for event in told.events if isinstance(event, Piece) for token in event.tokens]
    assert (token.token, token.text, token.logprob) == (ord("a"), "a", -0.5)
    assert [top.token for top in token.top] == [ord("a")]
    bare = await heard(worker, asked("[a]", logprobs=0))
    assert [token.top for event in bare.events if isinstance(event, Piece) for token in event.tokens] == [[]]


async def test_sampling_is_passed_on(worker: Worker) -> None:
    request = asked("tell", seed=2**40, temperature=0.5, logit_bias={7: -1.5}, ignore_eos=True, max_tokens=9)
    told = json.loads((await heard(worker, request)).text)
    assert told["seed"] == 2**40 % (2**32 - 1)
    assert (told["temperature"], told["logit_bias"], told["ignore_eos"]) == (0.5, [[7, -1.5]], True)
    assert (told["n_predict"], told["stream"], told["top_k"]) == (9, True, 40)


async def test_a_cache_serves_only_whom_it_was_computed_for(worker: Worker) -> None:
    async def cached(**changes: object) -> int:
        return (await heard(worker, asked("[x]", **changes))).end.usage.cached_tokens

    assert await cached(identity=1) == 0
    assert await cached(identity=1) == 3
    assert await cached(identity=2) == 0
    assert await cached(identity=3) == 0
    assert await cached(identity=1, prefix_cache=False) == 0
    assert await cached(identity=1, deterministic=True) == 0


async def test_cancelling_closes_the_connection_and_others_take_the_place(worker: Worker) -> None:
    for _ in range(3):
        async with worker.generate(asked("[]")) as batches:
            async for batch in batches:
                if any(isinstance(event, Piece) for event in batch):
                    break
    answers = await asyncio.gather(*(heard(worker, asked(f"[{n}]")) for n in range(8)))
    assert [answer.text for answer in answers] == [str(n) for n in range(8)]


async def test_a_paused_request_reads_on_later(worker: Worker) -> None:
    async with worker.generate(asked("[]")) as batches:
        async for batch in batches:
            if any(isinstance(event, Piece) for event in batch):
                break
        worker._set_pace(batches._id, True)
        assert (await heard(worker, asked("[x]"))).text == "x"
        worker._set_pace(batches._id, False)
        count = 0
        async for batch in batches:
            count += len(batch)
            if count > 200:
                break


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"prompt": [1, 256]}, "invalid_params"),
        ({"prompt": []}, "invalid_params"),
        ({"prompt": [65] * 256}, "input_too_long"),
        ({"prompt": "x" * 10**6}, "input_too_long"),
        ({"logit_bias": {256: 1.0}}, "invalid_params"),
        ({"prompt": "what?"}, "invalid_params"),
    ],
)
async def test_what_is_refused(worker: Worker, changes: dict[str, object], kind: str) -> None:
    with pytest.raises(RpcError) as caught:
        await heard(worker, asked(**changes))  # type: ignore[arg-type]
    assert caught.value.kind == kind
    with pytest.raises(RpcError) as unsupported:
        await worker.embed(EmbedRequest(["x"]))
    assert unsupported.value.kind == "unsupported"


async def test_a_server_that_dies_takes_its_worker_with_it(worker: Worker) -> None:
    with pytest.raises(RpcError) as caught:
        await heard(worker, asked("die"))
    assert caught.value.kind == "worker_crashed"
    with pytest.raises(RpcError) as after:
        await heard(worker, asked("[x]"))
    assert after.value.kind == "worker_crashed"


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_a_server_ends_with_its_worker(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "standard")
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    async with loaded("llama_server") as worker:
        (server,) = children(worker)
        assert server.environ()["LLAMA_API_KEY"] not in " ".join(server.cmdline())
        if how == "killed":
            psutil.Process(worker.pid).kill()
    assert await asyncio.to_thread(psutil.wait_procs, [server], 10) == ([server], [])


async def test_an_old_build_listens_on_the_loopback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "standard")
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    monkeypatch.setenv("TEST_STAND_IN_OLD", "1")
    async with loaded("llama_server") as worker:
        assert worker.info.capabilities == ["generate", "tokenize"]
        assert (await heard(worker, asked("[yes]"))).text == "yes"
        with pytest.raises(RpcError) as caught:
            await heard(worker, chat("hi"))
    assert caught.value.kind == "unsupported"


async def test_a_build_of_the_wrong_kind_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "bitnet-portable")
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    with pytest.raises(RpcError) as caught:
        async with loaded("llama_server"):
            pass
    assert caught.value.kind == "model_load_failed"
    assert "bitnet-portable" in caught.value.data["reason"]


async def test_a_server_that_ends_while_it_loads_fails_the_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "standard")
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    with pytest.raises(RpcError) as caught:
        async with loaded("llama_server", options=LoadOptions(kv_type="f32")):
            pass
    assert caught.value.kind == "model_load_failed"
    assert "ended with code 1" in caught.value.data["reason"]


@pytest.mark.skipif(
    REAL is None,
    reason="NOT RUN: llama-server is not built here (scripts/build_runtime.py --tools, 10 minutes)",
)
async def test_the_real_server_answers_as_the_engine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert REAL is not None
    folder = tmp_path / "BitNet" / "Release" / "cpu" / tabagent_os() / "standard"
    shutil.copytree(REAL.parent, folder)
    monkeypatch.setenv("TABAGENT_ROOT", str(tmp_path))
    assert tabagent_model.get_optimal_binary("llama-server") == str(folder / "llama-server")
    options = LoadOptions(threads=1, parallel=2)
    async with loaded("llama_server", options=options) as server, loaded("gguf") as engine:
        for prompt in prompts_of_tests(50):
            request = chat(prompt, max_tokens=128, deterministic=True)
            expected = await heard(engine, request)
            found = await heard(server, request)
            assert (found.tokens, found.text) == (expected.tokens, expected.text), prompt
            assert found.end.usage == expected.end.usage
        for text in ("naïve <|im_end|> 日本",):
            for special in (False, True):
                tokens = TokenizeRequest(text, True, special)
                assert await server.tokenize(tokens) == await engine.tokenize(tokens)
        probable = asked(max_tokens=3, logprobs=2)
        ours, theirs = await heard(server, probable), await heard(engine, probable)
        assert ours.tokens == theirs.tokens
