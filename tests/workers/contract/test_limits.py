"""What is refused, what is ended, and what survives it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psutil
import pytest

from native_host.protocol.errors import RpcError
from native_host.workers.messages import (
    AdapterUse,
    DetokenizeRequest,
    EmbedRequest,
    GenerateRequest,
    Piece,
    RerankRequest,
)

from .asking import QUESTIONS, ask, go_on
from .cases import Case
from .loaded import Loaded, end, text, tokens


def refusal(loaded: Loaded, request: GenerateRequest) -> RpcError:
    with pytest.raises(RpcError) as caught:
        loaded.events(request)
    return caught.value


def test_a_prompt_must_leave_room_for_a_token(loaded: Loaded) -> None:
    longest = loaded.worker.info.context_length
    error = refusal(loaded, go_on([5] * longest))
    assert error.kind == "input_too_long"
    assert (error.data["tokens"], error.data["limit"]) == (longest, longest - 1)
    assert len(tokens(loaded.events(go_on([5] * (longest - 1), ignore_eos=True)))) == 1


def test_a_text_that_is_too_long_whatever_its_tokens_are(loaded: Loaded) -> None:
    error = refusal(loaded, go_on("x" * 600 * loaded.worker.info.context_length))
    assert error.kind == "input_too_long"


def test_the_context_ends_an_answer(loaded: Loaded) -> None:
    longest = loaded.worker.info.context_length
    events = loaded.events(go_on([5] * (longest - 10), ignore_eos=True, max_tokens=500))
    assert end(events).reason == "length"
    assert len(tokens(events)) == 10


def test_tokens_that_there_are_not(loaded: Loaded) -> None:
    error = refusal(loaded, go_on([1, 2, loaded.worker.info.vocab_size]))
    assert error.kind == "invalid_params"
    assert error.data["path"] == "prompt[2]"
    with pytest.raises(RpcError) as caught:
        loaded.run(loaded.worker.detokenize(DetokenizeRequest([1, -1])))
    assert caught.value.kind == "invalid_params"
    assert caught.value.data["path"] == "tokens[1]"


@pytest.mark.parametrize("prompt", ["", []])
def test_nothing_to_go_on_from(loaded: Loaded, prompt: str | list[int]) -> None:
    assert refusal(loaded, go_on(prompt)).kind == "invalid_params"


def test_an_adapter_that_it_has_not(loaded: Loaded) -> None:
    error = refusal(loaded, ask("Hello", adapters=[AdapterUse("nobody")]))
    assert error.kind == "adapter_not_found"
    assert error.data["name"] == "nobody"


def test_vectors_and_scores_or_a_clear_no(loaded: Loaded) -> None:
    able = loaded.worker.info.capabilities
    if "embed" in able:
        result = loaded.run(loaded.worker.embed(EmbedRequest(["one", "two"])))
        assert [len(vector) for vector in result.embeddings] == [loaded.worker.info.embedding_dim] * 2
    else:
        with pytest.raises(RpcError) as caught:
            loaded.run(loaded.worker.embed(EmbedRequest(["one"])))
        assert caught.value.kind == "unsupported"
    if "rerank" not in able:
        with pytest.raises(RpcError) as caught:
            loaded.run(loaded.worker.rerank(RerankRequest("what", ["this"])))
        assert caught.value.kind == "unsupported"


def test_cancelled_in_every_state(loaded: Loaded) -> None:
    """A crowd that is more than run at once, so that some are decoded, some prefilled and some queued."""
    prompt = [5] * (loaded.worker.info.context_length - 400)

    async def crowd() -> None:
        async with loaded.worker.generate(go_on(prompt, ignore_eos=True, max_tokens=300)) as first:
            async for batch in first:
                if any(isinstance(event, Piece) for event in batch):
                    break
            others = [asyncio.create_task(loaded.collect(go_on(prompt, max_tokens=300))) for _ in range(40)]
            await loaded.collect(go_on("x", max_tokens=1, priority=10))
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    loaded.run(crowd())
    assert text(loaded.events(ask(QUESTIONS[0]))) != ""


def test_a_reader_that_is_behind_loses_nothing(loaded: Loaded) -> None:
    request = ask("Hello", ignore_eos=True, max_tokens=400)
    whole = text(loaded.events(request))

    async def late() -> str:
        async with loaded.worker.generate(request) as batches:
            # Others are served meanwhile, and more waits for us than may wait.
            for _ in range(8):
                await loaded.collect(ask(QUESTIONS[0]))
            parts = [event.text async for batch in batches for event in batch if isinstance(event, Piece)]
            return "".join(parts)

    assert loaded.run(late()) == whole


def test_a_model_that_is_not_there(case: Case, tmp_path: Path) -> None:
    with pytest.raises(RpcError) as caught:
        Loaded(case, tmp_path / "nothing")
    assert caught.value.kind == "invalid_model_file"


def test_killed_in_the_middle(case: Case, tmp_path: Path) -> None:
    worker = Loaded(case, case.make(tmp_path / "model"))
    pid = worker.worker.pid
    assert pid is not None

    async def kill() -> None:
        async with worker.worker.generate(ask("Hello", ignore_eos=True, max_tokens=900)) as batches:
            async for batch in batches:
                if any(isinstance(event, Piece) for event in batch):
                    os.kill(pid, signal.SIGKILL)

    with pytest.raises(RpcError, match="SIGKILL") as caught:
        worker.run(kill())
    assert caught.value.kind == "worker_crashed"
    assert worker.ended.wait(10)
    worker.close()


def test_unloading_ends_the_process(case: Case, tmp_path: Path) -> None:
    worker = Loaded(case, case.make(tmp_path / "model"))
    pid = worker.worker.pid
    worker.close()
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
