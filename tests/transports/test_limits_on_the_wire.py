"""The limits of a key, for whoever speaks frames with it."""

from __future__ import annotations

import pytest
from toy_service import ToyService
from wire_peer import Everything, WirePeer, kind

from native_host.guard import key_file
from native_host.guard.admission import Admission
from native_host.guard.handshake import AuthPolicy
from native_host.guard.keys import KeyStore
from native_host.guard.limits import UsageLimits
from native_host.protocol.identity import Quotas
from native_host.settings import Settings
from native_host.transports.host import Host


@pytest.fixture
def limited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str, ToyService]:
    """A host whose one key may ask three times a minute, once at a time, for six tokens a day."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    quotas = Quotas(requests_per_minute=5, tokens_per_day=6, concurrent=1)
    key, _ = key_file.create(file, "bot", quotas=quotas)
    limits, service = UsageLimits(), ToyService()
    policy = AuthPolicy(keys=KeyStore(file))
    return Host(Admission(service, limits), Settings(), policy, limits=limits), key, service


async def opened(host: Host, key: str) -> WirePeer:
    peer = WirePeer(host=host)
    await peer.open()
    await peer.call("authenticate", {"api_key": key})
    return peer


async def test_tokens_and_requests_are_counted_over_all_connections_of_a_key(
    limited: tuple[Host, str, ToyService],
) -> None:
    host, key, _ = limited
    answers = []
    for _ in range(6):
        peer = await opened(host, key)
        answers.append(await peer.call("generate", {"prompt": "stream x", "stream": True}))
    told = [answer["error"]["data"]["kind"] if "error" in answer else "ok" for answer in answers]
    assert told == ["ok", "ok", "quota_exceeded", "quota_exceeded", "quota_exceeded", "rate_limited"]
    data = answers[-1]["error"]["data"]
    assert data["limit"] == 5
    assert 0 < data["retry_after_s"] <= 60


async def test_so_many_at_once_over_all_connections_of_a_key(limited: tuple[Host, str, ToyService]) -> None:
    host, key, service = limited
    first, second = await opened(host, key), await opened(host, key)
    first.ask("generate", {"prompt": "wait"}, 7)
    await service.started.get()
    refused = await second.call("generate", {"prompt": "x"})
    assert kind(refused) == "rate_limited"
    assert "at once" in refused["error"]["message"]
    first.notify("$/cancelRequest", {"id": 7})
    assert kind(await first.hear()) == "cancelled"
    await service.ended.get()
    assert "result" in await second.call("generate", {"prompt": "x"})


async def test_peers_without_a_key_are_not_limited() -> None:
    host = Host(ToyService(), Settings(), limits=UsageLimits(per_minute=1))
    peer = WirePeer(host=host)
    await peer.open()
    for _ in range(5):
        assert "result" in await peer.call("generate", {"prompt": "x"})


async def test_an_extension_has_the_general_limit() -> None:
    policy = AuthPolicy(grants=Everything())
    host = Host(ToyService(), Settings(), policy, limits=UsageLimits(per_minute=1))
    peer = WirePeer(host=host, origin="chrome-extension://abc/")
    await peer.open()
    assert "result" in await peer.call("generate", {"prompt": "x"})
    assert kind(await peer.call("generate", {"prompt": "x"})) == "rate_limited"
