"""Streams that outlive their connection, over handlers made up on the spot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from native_host.guard.limits import UsageLimits
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity, Quotas
from native_host.protocol.messages import GenerateParams, StreamsResumeParams, TokenLogprob, ToolCallDelta
from native_host.service.context import RequestContext
from native_host.service.streams import Streams

from .recording import RecordingContext

ANN, BOB = Identity("api_key", "ann"), Identity("api_key", "bob")
ASKED = GenerateParams(prompt="x", stream=True, resumable=True)


class Counter:
    """A handler that counts up to `most`, as far as it is let: `allow` is the next number that waits."""

    def __init__(self, most: int, allow: int | None = None) -> None:
        self.most = most
        self.allowed = most if allow is None else allow
        self.sent = 0
        self.changed = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, params: GenerateParams, context: RequestContext) -> str:
        try:
            while self.sent < self.most:
                await self._wait(lambda: self.sent < self.allowed)
                await context.stream(f"{self.sent} ")
                context.partial.text = (context.partial.text or "") + f"{self.sent} "
                self.sent += 1
                self.changed.set()
            return "done"
        finally:
            self.ended.set()

    async def _wait(self, ready: Any) -> None:  # noqa: ANN401
        while not ready():
            self.changed.clear()
            await self.changed.wait()

    def allow(self, number: int) -> None:
        self.allowed = number
        self.changed.set()


class Peer(RecordingContext):
    """Knows when it has been sent so many pieces; reads no more than `most`."""

    def __init__(self, who: Identity = ANN, most: int = 1_000_000) -> None:
        super().__init__()
        self.identity = who
        self.most = most
        self.news = asyncio.Event()

    async def stream(
        self,
        text: str,
        *,
        index: int | None = None,
        logprobs: list[TokenLogprob] | None = None,
        reasoning: str = "",
        tool_calls: list[ToolCallDelta] | None = None,
    ) -> None:
        if len(self.pieces) >= self.most:
            await asyncio.Event().wait()
        await super().stream(text, index=index, logprobs=logprobs, reasoning=reasoning, tool_calls=tool_calls)
        self.news.set()

    async def has(self, number: int) -> None:
        while len(self.pieces) < number:
            self.news.clear()
            await self.news.wait()

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    @property
    def name(self) -> str:
        return self.streams[0][0]


def ask(streams: Streams, counter: Counter, peer: Peer) -> asyncio.Task[str]:
    return asyncio.ensure_future(streams.before(counter)(ASKED, peer))


def resume(streams: Streams, name: str, from_seq: int, peer: Peer) -> asyncio.Task[Any]:
    return asyncio.ensure_future(streams.resume(StreamsResumeParams(stream=name, from_seq=from_seq), peer))


async def lose(task: asyncio.Task[str], peer: Peer) -> None:
    """What the connection does when it ends."""
    peer.abandoned = True
    await cancel(task)


async def cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def refused(task: asyncio.Task[Any]) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await task
    return caught.value


async def test_it_streams_as_any_other_and_has_a_name() -> None:
    peer = Peer()
    assert await ask(Streams(), Counter(3), peer) == "done"
    assert peer.text == "0 1 2 "
    assert len(peer.name) >= 32
    assert peer.partial.text == "0 1 2 "


async def test_it_goes_on_while_its_peer_is_away_and_is_taken_up_where_it_was() -> None:
    streams, counter, peer = Streams(), Counter(10, allow=4), Peer()
    task = ask(streams, counter, peer)
    await peer.has(4)
    await lose(task, peer)
    counter.allow(10)
    await counter.ended.wait()
    back = Peer()
    assert await resume(streams, peer.name, 2, back) == "done"
    assert back.text == "2 3 4 5 6 7 8 9 "
    assert back.streams == [(peer.name, 2)]
    assert back.partial.text == "0 1 2 3 4 5 6 7 8 9 "
    once_more = Peer()  # that answer may have been lost too
    assert await resume(streams, peer.name, 10, once_more) == "done"
    assert once_more.text == ""
    await streams.stop()


async def test_one_that_is_resumed_in_the_middle_streams_on() -> None:
    streams, counter, peer, back = Streams(), Counter(6, allow=2), Peer(), Peer()
    task = ask(streams, counter, peer)
    await peer.has(2)
    await lose(task, peer)
    task = resume(streams, peer.name, 1, back)
    await back.has(1)
    counter.allow(6)
    assert await task == "done"
    assert back.text == "1 2 3 4 5 "


async def test_who_cancels_does_not_come_back() -> None:
    streams, counter, peer = Streams(), Counter(3, allow=1), Peer()
    task = ask(streams, counter, peer)
    await peer.has(1)
    await cancel(task)
    await counter.ended.wait()
    assert (await refused(resume(streams, peer.name, 0, Peer()))).kind == "stream_not_found"


async def test_one_whose_name_nobody_heard_ends_with_its_connection() -> None:
    streams, counter, peer = Streams(), Counter(3, allow=0), Peer()
    task = ask(streams, counter, peer)
    await asyncio.sleep(0)
    await lose(task, peer)
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
    assert (await refused(resume(streams, peer.name, 0, Peer()))).kind == "stream_not_found"


async def test_nobody_elses_can_be_had() -> None:
    streams, counter, peer = Streams(), Counter(3, allow=1), Peer()
    task = ask(streams, counter, peer)
    await peer.has(1)
    await lose(task, peer)
    for who, name in ((BOB, peer.name), (ANN, "a guess")):
        error = await refused(resume(streams, name, 0, Peer(who)))
        assert (error.kind, error.data["name"]) == ("stream_not_found", name)
    await streams.stop()
    assert counter.ended.is_set()


async def test_after_its_time_it_is_gone() -> None:
    streams, counter, peer = Streams(kept_s=0.01), Counter(3, allow=1), Peer()
    task = ask(streams, counter, peer)
    await peer.has(1)
    await lose(task, peer)
    await counter.ended.wait()
    assert (await refused(resume(streams, peer.name, 1, Peer()))).kind == "stream_not_found"


async def test_what_nobody_reads_waits_when_enough_is_kept() -> None:
    streams, counter, peer = Streams(kept_bytes=2000), Counter(1000, allow=2), Peer()
    task = ask(streams, counter, peer)
    await peer.has(2)
    await lose(task, peer)
    counter.allow(1000)
    held = -1
    while held != counter.sent:
        held = counter.sent
        for _ in range(10):
            await asyncio.sleep(0)
    assert 10 < held < 100
    back = Peer()
    assert await resume(streams, peer.name, 2, back) == "done"
    assert back.text == "".join(f"{number} " for number in range(2, 1000))
    await streams.stop()


async def test_what_is_too_old_is_gone_and_said_so() -> None:
    streams, peer = Streams(kept_bytes=2000), Peer()
    await ask(streams, Counter(1000), peer)
    error = await refused(resume(streams, peer.name, 0, Peer()))
    assert (error.kind, error.data["path"]) == ("invalid_params", "from_seq")
    error = await refused(resume(streams, peer.name, 1001, Peer()))
    assert "1000 pieces" in error.message
    back = Peer()
    assert await resume(streams, peer.name, 995, back) == "done"
    assert back.text == "995 996 997 998 999 "
    await streams.stop()


async def test_the_last_one_to_ask_for_it_reads_it() -> None:
    streams, counter, peer, back = Streams(), Counter(4, allow=2), Peer(), Peer()
    task = ask(streams, counter, peer)
    await peer.has(2)  # and its connection hangs, which nobody has noticed yet
    second = resume(streams, peer.name, 0, back)
    error = await refused(task)
    assert (error.kind, "another request" in error.message) == ("cancelled", True)
    counter.allow(4)
    assert await second == "done"
    assert (peer.text, back.text) == ("0 1 ", "0 1 2 3 ")
    await streams.stop()


async def test_its_error_waits_for_its_peer_too() -> None:
    async def fail(params: GenerateParams, context: RequestContext) -> str:
        await context.stream("so far")
        raise errors.timeout()

    async def err(params: GenerateParams, context: RequestContext) -> str:
        await context.stream("so far")
        raise KeyError("a fault")

    streams = Streams()
    for handler, kind in ((fail, "timeout"), (err, "internal_error")):
        peer, back = Peer(), Peer()
        assert (await refused(asyncio.ensure_future(streams.before(handler)(ASKED, peer)))).kind == kind
        assert (await refused(resume(streams, peer.name, 0, back))).kind == kind
        assert back.text == "so far"
    await streams.stop()


async def test_a_peer_that_does_not_read_makes_it_wait() -> None:
    streams, counter, peer = Streams(), Counter(100), Peer(most=3)
    task = ask(streams, counter, peer)
    await peer.has(3)
    for _ in range(20):
        await asyncio.sleep(0)
    assert counter.sent == 3
    await cancel(task)
    await counter.ended.wait()


async def test_a_long_piece_is_kept_in_parts_that_fit_any_frame() -> None:
    text = "x" * 1000
    tokens = [TokenLogprob(token=number, text="x", logprob=0.0, top=[]) for number in range(5)]

    async def handler(params: GenerateParams, context: RequestContext) -> str:
        await context.stream(text, index=3, logprobs=tokens)
        return "done"

    streams, peer = Streams(), Peer()
    await streams.before(handler)(ASKED, peer)
    assert peer.text == text
    assert {index for _, index in peer.pieces} == {3}
    assert max(len(piece) for piece, _ in peer.pieces) <= 128
    back = Peer()
    await resume(streams, peer.name, 2, back)
    assert back.pieces == peer.pieces[2:]
    await streams.stop()


async def answered(streams: Streams, who: Identity) -> str:
    """The name of a stream that has its answer and waits in case that was lost."""
    peer = Peer(who)
    await ask(streams, Counter(1), peer)
    return peer.name


async def left_running(streams: Streams, counter: Counter, who: Identity) -> str:
    """The name of a stream that its peer has lost after the first piece."""
    peer = Peer(who)
    task = ask(streams, counter, peer)
    await peer.has(1)
    await lose(task, peer)
    return peer.name


async def is_kept(streams: Streams, name: str, who: Identity) -> bool:
    try:
        await resume(streams, name, 1, Peer(who))
    except RpcError as error:
        if error.kind != "stream_not_found":
            raise
        return False
    return True


async def test_who_leaves_many_loses_its_own_answered_ones_first() -> None:
    streams, counters = Streams(max_left=4), [Counter(3, allow=1), Counter(3, allow=1)]
    anns = await left_running(streams, counters[0], ANN)
    bobs = await left_running(streams, counters[1], BOB)
    names = [await answered(streams, BOB) for _ in range(5)]
    for counter in counters:
        counter.allow(3)
    assert await is_kept(streams, anns, ANN)
    assert await is_kept(streams, bobs, BOB)
    assert [await is_kept(streams, name, BOB) for name in names] == [False, False, False, True, True]
    await streams.stop()


async def test_who_leaves_much_loses_its_own_even_while_it_grows() -> None:
    streams, counter = Streams(max_left_bytes=2000), Counter(1000, allow=1)
    anns = [await answered(streams, ANN) for _ in range(5)]  # more of them, but less
    bobs = await left_running(streams, counter, BOB)
    counter.allow(1000)
    await counter.ended.wait()
    assert counter.sent < 50
    assert not await is_kept(streams, bobs, BOB)
    assert [await is_kept(streams, name, ANN) for name in anns] == [True] * 5
    await streams.stop()


async def test_it_must_be_a_stream() -> None:
    asked = GenerateParams(prompt="x", resumable=True)
    error = await refused(asyncio.ensure_future(Streams().before(Counter(1))(asked, Peer())))
    assert error.data["path"] == "resumable"


async def test_work_counts_as_such_while_its_peer_is_away_and_no_longer() -> None:
    bot = Identity("api_key", "bot", quotas=Quotas(concurrent=1))
    streams, counter, peer = Streams(hold=UsageLimits().running), Counter(10, allow=4), Peer(bot)
    task = ask(streams, counter, peer)
    await peer.has(4)
    await lose(task, peer)
    assert (await refused(ask(streams, Counter(1), Peer(bot)))).kind == "rate_limited"
    back = Peer(bot)
    reading = resume(streams, peer.name, 4, back)  # to read what runs already is no more work
    counter.allow(10)
    assert await reading == "done"
    assert await ask(streams, Counter(1), Peer(bot)) == "done"
    await streams.stop()


async def test_work_that_is_given_up_counts_no_longer() -> None:
    bot = Identity("api_key", "bot", quotas=Quotas(concurrent=1))
    streams, counter, peer = Streams(hold=UsageLimits().running), Counter(10, allow=4), Peer(bot)
    task = ask(streams, counter, peer)
    await peer.has(4)
    await cancel(task)  # and its peer wants no more of it
    await counter.ended.wait()
    assert await ask(streams, Counter(1), Peer(bot)) == "done"
    await streams.stop()
