"""A cancelled request is answered at once, whatever the engine is doing; how fast is measured elsewhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from native_host.client import Host
from native_host.client.asking import Generated
from native_host.client.session import Progress
from native_host.client.stream import Stream
from native_host.protocol.errors import RpcError

LONG = 4000


def cancelled(stream: Stream[Generated]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        _ = stream.result
    assert caught.value.kind == "cancelled"
    return caught.value


def test_while_decoding(host: Host, slow_model: Path) -> None:
    stream = host.stream("hello", model="slow", max_tokens=LONG, ignore_eos=True)
    pieces = stream.pieces()
    text = next(pieces).text
    stream.cancel()
    text += "".join(piece.text for piece in pieces)
    error = cancelled(stream)
    assert error.data["text"].startswith(text)
    assert 0 < error.data["usage"]["completion_tokens"] < LONG
    assert host.generate("hello", model="slow", max_tokens=2).usage.completion_tokens == 2


def test_with_several_prompts(host: Host, slow_model: Path) -> None:
    params = {"prompts": ["hello", "good morning"], "stream": True, "max_tokens": LONG, "ignore_eos": True}
    host.load("slow")
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(host.call, "generate", {"model": "slow", **params})
        while host.health().requests_in_flight < 1:
            pass
        host.unload("slow", force=True)
        error = asking.exception()
    assert isinstance(error, RpcError)
    assert error.kind == "cancelled"
    assert error.data["text"] is None
    assert len(error.data["texts"]) == 2


def test_by_a_forced_unload(host: Host, slow_model: Path) -> None:
    stream = host.stream("hello", model="slow", max_tokens=LONG, ignore_eos=True)
    pieces = stream.pieces()
    texts = [next(pieces).text]
    host.unload("slow", force=True)
    with pytest.raises(RpcError, match="was unloaded") as caught:
        texts.extend(piece.text for piece in pieces)
    assert caught.value.kind == "cancelled"
    assert caught.value.data["text"].startswith("".join(texts))


def test_while_queued(host: Host, slow_model: Path) -> None:
    running = host.stream("hello", model="slow", max_tokens=LONG, ignore_eos=True)
    pieces = iter(running)
    next(pieces)
    queued = host.stream("hello", model="slow", max_tokens=LONG)
    queued.cancel()
    assert not cancelled(queued).data.get("text")
    assert next(pieces)  # and the one before it goes on
    running.cancel()


def test_while_prefilling(host: Host, slow_model: Path) -> None:
    host.load("slow")
    prompt = host.tokenize("word " * 3000, model="slow")
    stream = host.stream(prompt, model="slow", max_tokens=1)
    while host.health().requests_in_flight < 1:
        pass
    stream.cancel()
    assert not cancelled(stream).data.get("text")
    assert host.generate("hello", model="slow", max_tokens=1).usage.completion_tokens == 1


def test_while_loading(host: Host, slow_model: Path) -> None:
    told: list[Progress] = []

    def on_progress(progress: Progress) -> None:
        told.append(progress)
        stream.cancel()

    stream = host.stream("hello", model="slow", max_tokens=1, on_progress=on_progress)
    cancelled(stream)
    assert told[0].stage == "load"
    assert host.generate("hello", model="slow", max_tokens=1).usage.completion_tokens == 1
