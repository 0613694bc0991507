"""A peer that does not read: its own work waits, nobody else's; then it is given up."""

from __future__ import annotations

import asyncio
import json

from toy_service import ToyService
from wire_peer import WirePeer, kind

from native_host.protocol.messages import GenerateParams, GenerateResult, Params, StreamsResumeParams
from native_host.service.context import RequestContext
from native_host.service.streams import Streams
from native_host.settings import Settings
from native_host.transports.host import Host
from native_host.transports.memory import MemoryPipe
from native_host.transports.stall import StallWatch


async def settle(peer: WirePeer) -> int:
    """Let everything run that can; how many pieces the flood has sent then."""
    sent = -1
    while sent != peer.service.pieces:
        sent = peer.service.pieces
        for _ in range(20):
            await asyncio.sleep(0)
    return sent


async def test_generation_waits_for_a_peer_that_does_not_read_and_goes_on_when_it_does() -> None:
    peer = WirePeer(Settings(out_queue=20_000))
    await peer.open()
    peer.ask("generate", {"prompt": "flood 200"}, "f")
    assert 15 <= await settle(peer) <= 25
    other = WirePeer(host=peer.host)
    await other.open()
    assert "result" in await other.call("generate", {"prompt": "hello"})
    answer = await peer.hear()
    while "method" in answer:
        answer = await peer.hear()
    notes = [one["params"]["seq"] for one in peer.seen if one.get("method") == "$/stream"]
    assert notes == list(range(200))
    assert answer["result"]["text"] == "y" * 200_000


async def test_after_the_stall_timeout_what_waits_is_cancelled() -> None:
    peer = WirePeer(Settings(out_queue=20_000, stall_timeout_s=0.02))
    await peer.open()
    peer.ask("generate", {"prompt": "flood 200"}, "f")
    peer.ask("generate", {"prompt": "wait"}, "w")
    assert await peer.service.started.get() == "flood 200"
    assert await peer.service.started.get() == "wait"
    assert await peer.service.ended.get() == "flood 200"
    answer = await peer.hear()
    while "method" in answer:
        answer = await peer.hear()
    assert (answer["id"], kind(answer)) == ("f", "cancelled")
    peer.service.go.set()
    assert (await peer.hear())["id"] == "w"


class KeepingService(ToyService):
    """Keeps streams as the real service does."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = Streams()

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        """`generate` and `streams.resume`."""
        if isinstance(params, StreamsResumeParams):
            return await self.streams.resume(params, context)
        assert isinstance(params, GenerateParams)
        return await self.streams.before(self._flow)(params, context)

    async def _flow(self, params: GenerateParams, context: RequestContext) -> GenerateResult:
        try:
            return await self._generate(str(params.prompt), context)
        finally:
            self.ended.put_nowait(str(params.prompt))


async def test_a_peer_that_stalled_and_comes_back_finds_its_stream() -> None:
    service = KeepingService()
    asleep = WirePeer(host=Host(service, Settings(out_queue=20_000, stall_timeout_s=0.02), None))
    asleep.host.outlives_connections = True
    await asleep.open()
    asleep.ask("generate", {"prompt": "flood 50", "stream": True, "resumable": True}, "f")
    name = (await asleep.hear())["params"]["stream"]
    await service.ended.get()  # nobody else could make it go on but the end of the wait for this peer
    back = WirePeer(host=Host(service, Settings(), None))
    back.host.outlives_connections = True
    await back.open()
    answer = await back.call("streams.resume", {"stream": name, "from_seq": 0}, "r")
    assert answer["result"]["text"] == "y" * 50_000
    pieces = [one["params"]["text"] for one in back.seen if one.get("method") == "$/stream"]
    assert "".join(pieces) == "y" * 50_000
    await service.streams.stop()


async def test_a_peer_that_reads_slowly_is_not_given_up() -> None:
    stalled = asyncio.Event()
    pipe = MemoryPipe(mark=100)
    pipe.write(b"x" * 5)
    looks = []

    def taken() -> int:
        pipe.take(1)  # a byte between any two looks, while there is one
        looks.append(pipe.buffered())
        return looks[-1]

    watch = StallWatch(0.001, taken, stalled.set)
    watch.start()
    await stalled.wait()
    watch.stop()
    assert looks == [4, 3, 2, 1, 0, 0]


async def test_a_peer_that_only_sends_is_read_no_more() -> None:
    peer = WirePeer(Settings(out_queue=1000))
    for _ in range(300):
        peer.peer.feed(b"\0\0\0\0")
        if not peer.peer.pipe.reading:
            break
    assert not peer.peer.pipe.reading
    assert peer.peer.pipe.buffered() < 40_000
    while peer.peer.pipe.written:
        peer.peer.read_waiting()
    assert peer.peer.pipe.reading
    assert all(kind(json.loads(payload)) == "parse_error" for payload in peer.peer._payloads)
