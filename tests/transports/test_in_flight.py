"""What is counted of a request, whatever carries it."""

from __future__ import annotations

from telemetry.test_metrics import samples
from toy_service import ToyService

from native_host.guard.identity import LOCAL
from native_host.protocol.messages import Partial, Usage
from native_host.settings import Settings
from native_host.transports.host import Host
from native_host.transports.in_flight import InFlight


def used(prompt: int, completion: int) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=0)


async def test_tokens_of_a_stream_with_several_readers_are_counted_once() -> None:
    host = Host(ToyService(), Settings())
    shared = Partial(model="tiny")
    for completion, outcome in ((5, "cancelled"), (5, "cancelled"), (30, "ok")):
        request = InFlight(host, LOCAL, "generate", "socket-1")
        request.begin(None, lambda: None, streaming=True)
        request.partial = shared
        shared.usage = used(7, completion)
        request.end(outcome)
    found = samples(host.counters.exposition([], {}, 1.0))
    assert found['native_host_tokens_total{kind="prompt",model="tiny"}'] == 7
    assert found['native_host_tokens_total{kind="completion",model="tiny"}'] == 30
    assert found['native_host_identity_tokens_total{identity="local"}'] == 37
    assert found['native_host_requests_total{method="generate",outcome="cancelled"}'] == 2
