"""Sessions of a real daemon with a real model: kept between connections, and longer than its context."""

from __future__ import annotations

from pathlib import Path

import pytest

from native_host.client import AsyncHost, Host
from native_host.protocol.errors import RpcError


def test_a_conversation_goes_on_over_another_connection(daemon: Path) -> None:
    with Host.connect(daemon) as host:
        name = host.create_session(system="Be kind.")
        said = host.chat("good morning", session=name, max_tokens=8, temperature=0).result.message.content
    with Host.connect(daemon) as host:
        result = host.chat("and now?", session=name, max_tokens=8, temperature=0).result
        session = host.session(name)
        plain = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "good morning"},
            {"role": "assistant", "content": said},
            {"role": "user", "content": "and now?"},
        ]
        alone = host.chat(plain, max_tokens=8, temperature=0).result
        listed = host.sessions()
        host.delete_session(name)
        with pytest.raises(RpcError) as caught:
            host.session(name)
    assert result.message == alone.message
    assert result.usage.prompt_tokens == alone.usage.prompt_tokens
    assert result.usage.cached_tokens > 0
    assert [(message.role, message.content) for message in session.messages] == [
        ("user", "good morning"),
        ("assistant", said),
        ("user", "and now?"),
        ("assistant", result.message.content),
    ]
    assert [(each.session, each.messages) for each in listed] == [(name, 4)]
    assert caught.value.kind == "session_not_found"


def test_a_cancelled_answer_leaves_the_session_as_it_was(socket_host: Host, slow_model: Path) -> None:
    name = socket_host.create_session(model="slow")
    stream = socket_host.chat("hello", session=name, max_tokens=4000, ignore_eos=True)
    next(iter(stream))
    stream.cancel()
    with pytest.raises(RpcError) as caught:
        _ = stream.result
    assert caught.value.kind == "cancelled"
    assert socket_host.session(name).messages == []
    assert socket_host.chat("hello", session=name, max_tokens=2).result.usage.completion_tokens <= 2
    assert len(socket_host.session(name).messages) == 2


def test_a_session_outgrows_the_models_context(socket_host: Host) -> None:
    context_length = socket_host.load("tiny").context_length
    name = socket_host.create_session(system="Be kind.")
    text = "word " * (context_length // 8)
    results = [
        socket_host.chat(f"{number} {text}", session=name, max_tokens=4, seed=1).result for number in range(8)
    ]
    left_out = [result.left_out or 0 for result in results]
    assert left_out[0] == 0
    assert left_out[-1] > 0
    assert left_out == sorted(left_out)
    assert all(result.usage.prompt_tokens < context_length for result in results)
    session = socket_host.session(name)
    assert (len(session.messages), session.left_out) == (16, left_out[-1])
    kept = [
        ("system", "Be kind."),
        *((each.role, each.content) for each in session.messages[left_out[-1] : -1]),
    ]
    again = [{"role": role, "content": content} for role, content in kept]
    prompted = socket_host.chat(again, max_tokens=1).result.usage.prompt_tokens
    assert prompted == results[-1].usage.prompt_tokens
    with pytest.raises(RpcError) as caught:
        _ = socket_host.chat("word " * context_length, session=name).result
    assert caught.value.kind == "input_too_long"


async def test_the_same_for_asyncio(daemon: Path) -> None:
    async with AsyncHost.connect(daemon) as host:
        name = await host.create_session(ttl_s=60)
        await host.chat("hello", session=name, max_tokens=2).result
        assert len((await host.session(name)).messages) == 2
        assert [each.ttl_s for each in await host.sessions()] == [60]
        await host.delete_session(name)
        assert await host.sessions() == []
        with pytest.raises(RpcError, match="belongs to chat"):
            await host.call("generate", {"prompt": "hello", "session": name})
