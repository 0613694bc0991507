"""Generating: streams equal whole answers, seeds replay, limits hold, threads and tasks share a model."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tabagent_model
from tabagent_model import PyModel
from tabagent_model.types import Message

CHAT: list[Message] = [{"role": "user", "content": "Good morning"}]


def test_a_stream_equals_the_whole(model: PyModel) -> None:
    whole = model.generate("Hello", 40, temperature=0)
    assert len(whole) > 20
    stream = model.stream("Hello", 40, temperature=0)
    pieces = list(stream)
    assert len(pieces) > 5
    assert "".join(pieces) == whole
    assert stream.done
    assert stream.finish_reason in {"stop", "length"}
    assert stream.usage is not None
    assert stream.usage["prompt_tokens"] == len(model.tokenize("Hello"))
    assert stream.timings is not None
    assert stream.timings["decode_tokens_per_s"] > 0
    assert list(stream) == []


def test_a_callback_gets_the_pieces(model: PyModel) -> None:
    pieces: list[str] = []
    whole = model.stream("Hello", 40, callback=pieces.append, temperature=0)
    assert "".join(pieces) == whole == model.generate("Hello", 40, temperature=0)


def test_a_callback_ends_the_generation(model: PyModel) -> None:
    pieces: list[str] = []

    def three(piece: str) -> bool:
        pieces.append(piece)
        return len(pieces) < 3

    assert model.stream("Hello", 500, callback=three, temperature=0, ignore_eos=True) == "".join(pieces)
    assert len(pieces) == 3

    def broken(_: str) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        model.stream("Hello", 500, callback=broken)
    assert model.generate("Hello", 4, temperature=0)


def test_a_seed_replays(model: PyModel) -> None:
    first = model.generate("Once", 40, temperature=1.0, seed=7, ignore_eos=True)
    assert model.generate("Once", 40, temperature=1.0, seed=7, ignore_eos=True) == first
    assert model.generate("Once", 40, temperature=1.0, seed=8, ignore_eos=True) != first
    stream = model.stream("Once", 40, temperature=1.0, ignore_eos=True)
    chosen = "".join(stream)
    assert stream.seed is not None
    assert 0 <= stream.seed < 2**53
    assert model.generate("Once", 40, temperature=1.0, ignore_eos=True, seed=stream.seed) == chosen


def test_max_tokens_and_stop(model: PyModel) -> None:
    assert model.generate("Hello", 0) == ""
    stream = model.stream("Hello", 5, temperature=0, ignore_eos=True)
    text = "".join(stream)
    assert stream.finish_reason == "length"
    assert stream.usage is not None
    assert stream.usage["completion_tokens"] == 5
    stop = text[len(text) // 2 :]
    stopped = model.stream("Hello", 5, temperature=0, ignore_eos=True, stop=[stop])
    assert "".join(stopped) == text[: text.index(stop)]
    assert stopped.finish_reason == "stop"
    assert model.generate("Hello", 5, temperature=0, ignore_eos=True, stop=stop) == text[: text.index(stop)]


def test_a_token_prompt_is_taken_as_it_is(model: PyModel) -> None:
    tokens = model.tokenize("Hello")
    assert model.generate(tokens, 20, temperature=0) == model.generate("Hello", 20, temperature=0)


def test_options_may_be_none(model: PyModel) -> None:
    assert model.generate("Hello", 8, temperature=0, top_k=None, stop=None, seed=None, logit_bias=None)


def test_a_bias_bans_a_token(model: PyModel) -> None:
    first = model.tokenize(model.generate("Hello", 1, temperature=0), add_special=False)[0]
    biased = model.generate("Hello", 1, temperature=0, logit_bias={first: float("-inf")})
    assert model.tokenize(biased, add_special=False)[:1] != [first]


def test_a_dropped_stream_stops_computing(model: PyModel) -> None:
    stream = model.stream("Hello", 1000, ignore_eos=True)
    next(stream)
    del stream
    gc.collect()
    # Requests run one after the other: this one would wait for the thousand tokens.
    follower = model.stream("Hello", 1, temperature=0)
    list(follower)
    assert follower.finish_reason in {"length", "stop"}


def test_a_cancelled_stream_ends(model: PyModel) -> None:
    stream = model.stream("Hello", 1000, ignore_eos=True)
    next(stream)
    stream.cancel()
    assert list(stream) == []
    assert stream.finish_reason == "cancelled"


def test_many_threads_share_a_model(model: PyModel) -> None:
    prompts = [f"Number {index}" for index in range(16)]
    alone = [model.generate(prompt, 12, temperature=0) for prompt in prompts]
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda prompt: model.generate(prompt, 12, temperature=0), prompts))
    assert together == alone


async def test_many_tasks_share_a_model(model: PyModel) -> None:
    prompts = [f"Number {index}" for index in range(32)]
    alone = [model.generate(prompt, 12, temperature=0) for prompt in prompts]
    assert await asyncio.gather(*(model.agenerate(prompt, 12, temperature=0) for prompt in prompts)) == alone


async def test_tasks_and_threads_together(model: PyModel) -> None:
    alone = model.generate("Hello", 30, temperature=0)
    tasks = [model.agenerate("Hello", 30, temperature=0) for _ in range(8)]
    threads = [asyncio.to_thread(model.generate, "Hello", 30, temperature=0) for _ in range(8)]
    assert set(await asyncio.gather(*tasks, *threads)) == {alone}


async def test_a_loop_goes_on_while_a_task_generates(model: PyModel) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    heart = asyncio.create_task(beat())
    pieces = [piece async for piece in model.astream("Hello", 1500, temperature=0, ignore_eos=True)]
    heart.cancel()
    assert "".join(pieces) == model.generate("Hello", 1500, temperature=0, ignore_eos=True)
    # A loop that the generation blocks gets to beat once or twice.
    assert beats > 10


async def test_a_cancelled_task_frees_the_model(model: PyModel) -> None:
    started = asyncio.Event()

    async def long() -> None:
        async for _ in model.astream("Hello", 1900, ignore_eos=True):
            started.set()

    task = asyncio.create_task(long())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await model.agenerate("Hello", 4, temperature=0)


async def test_leaving_an_async_stream_early(model: PyModel) -> None:
    stream = model.astream("Hello", 1900, ignore_eos=True)
    async for piece in stream:
        assert piece
        break
    await stream.aclose()  # type: ignore[attr-defined]
    assert await model.agenerate("Hello", 4, temperature=0)


async def test_async_errors_are_the_same(model: PyModel) -> None:
    with pytest.raises(tabagent_model.InvalidArgumentError):
        await model.agenerate("", 4)
    with pytest.raises(TypeError, match="unexpected keyword argument 'temprature'"):
        await model.agenerate("Hello", 4, temprature=1)  # type: ignore[call-arg]


async def test_chat_in_every_form(model: PyModel) -> None:
    whole = model.chat(CHAT, 20, temperature=0)
    assert "".join(model.stream_chat(CHAT, 20, temperature=0)) == whole
    assert await model.achat(CHAT, 20, temperature=0) == whole
    assert "".join([piece async for piece in model.astream_chat(CHAT, 20, temperature=0)]) == whole
    prompt = model.apply_template(CHAT)
    assert model.generate(prompt, 20, temperature=0, add_special=False, parse_special=True) == whole


def test_unloading_ends_what_runs(library: str, tiny_model: Path) -> None:
    model = PyModel()
    model.load(library, tiny_model, context_length=16384, threads=1)
    stream = model.stream("Hello", 16000, ignore_eos=True)
    next(stream)
    results: list[object] = []

    def waiting() -> None:
        try:
            results.append("".join(stream))
        except tabagent_model.TabagentError as error:
            results.append(error)

    thread = threading.Thread(target=waiting)
    thread.start()
    model.unload()
    thread.join(10)
    assert not thread.is_alive()
    assert len(results) == 1
    assert not model.loaded
    with pytest.raises(tabagent_model.NotLoadedError):
        model.generate("Hello")
    model.unload()
    model.load(library, tiny_model, threads=1)
    assert model.generate("Hello", 4, temperature=0)
    model.unload()


def test_loading_again_replaces_the_model(library: str, tiny_model: Path) -> None:
    with PyModel() as model:
        model.load(library, tiny_model, context_length=512)
        assert model.info()["context_length"] == 512
        model.load(library, tiny_model, context_length=1024)
        assert model.info()["context_length"] == 1024
    assert not model.loaded
