"""The handshake through a connection: what a peer sees of it, and that the third failure closes."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_service import ToyService
from wire_peer import Everything, WirePeer, kind

from native_host.guard.handshake import AuthPolicy
from native_host.guard.keys import KeyStore
from native_host.protocol.mac import mac_of
from native_host.settings import Settings
from native_host.transports.host import Host

SECRET = b"a secret of the parent"
CLIENT_NONCE = bytes(32)


def proof(nonce: str, secret: bytes = SECRET) -> dict[str, str]:
    mac = mac_of(secret, b"native-host/1 client", bytes.fromhex(nonce), CLIENT_NONCE)
    return {"client_nonce": CLIENT_NONCE.hex(), "mac": mac.hex()}


@pytest.fixture
def peer() -> WirePeer:
    return WirePeer(policy=AuthPolicy(SECRET, KeyStore(single="the key")))


async def test_right(peer: WirePeer) -> None:
    auth = (await peer.open())["result"]["auth"]
    assert auth["required"] is True
    assert auth["schemes"] == ["hmac-sha256", "api_key"]
    refused = await peer.call("generate", {"prompt": "x"})
    assert refused["error"]["code"] == -32001
    assert refused["error"]["data"]["nonce"] == auth["nonce"]
    answer = await peer.call("authenticate", proof(auth["nonce"]))
    expected = mac_of(SECRET, b"native-host/1 host", CLIENT_NONCE, bytes.fromhex(auth["nonce"]))
    assert answer["result"] == {"mac": expected.hex()}
    assert "result" in await peer.call("generate", {"prompt": "x"})


def problems(name_files: bool) -> list[str]:
    return ["/home/user/models.json:2: wrong" if name_files else "models.json:2: wrong"]


async def told(peer: WirePeer) -> str:
    found: list[str] = (await peer.call("health"))["result"]["problems"]
    return found[0]


async def test_health_says_where_files_lie_once_the_peer_has_proved_itself() -> None:
    peer = WirePeer(host=Host(ToyService(), Settings(), AuthPolicy(SECRET), problems))
    assert await told(peer) == "models.json:2: wrong"
    nonce = (await peer.open())["result"]["auth"]["nonce"]
    assert await told(peer) == "models.json:2: wrong"
    await peer.call("authenticate", proof(nonce))
    assert await told(peer) == "/home/user/models.json:2: wrong"


async def test_health_says_where_files_lie_where_nothing_is_to_be_proved() -> None:
    peer = WirePeer(host=Host(ToyService(), Settings(), problems=problems))
    assert await told(peer) == "models.json:2: wrong"  # it may be a relay, which has not said for whom
    await peer.open()
    assert await told(peer) == "/home/user/models.json:2: wrong"


async def test_health_tells_no_extension_where_files_lie() -> None:
    policy = AuthPolicy(grants=Everything())
    peer = WirePeer(host=Host(ToyService(), Settings(), policy, problems))
    await peer.open(origin="chrome-extension://abc/")
    assert await told(peer) == "models.json:2: wrong"


async def test_by_key(peer: WirePeer) -> None:
    await peer.open()
    assert kind(await peer.call("authenticate", {"api_key": "another"})) == "unauthenticated"
    assert (await peer.call("authenticate", {"api_key": "the key"}))["result"] == {}
    assert "result" in await peer.call("generate", {"prompt": "x"})


async def test_the_third_failure_closes_after_its_answer(peer: WirePeer) -> None:
    nonce = (await peer.open())["result"]["auth"]["nonce"]
    for _ in range(3):
        answer = await peer.call("authenticate", proof(nonce, b"another secret of it"))
        nonce = answer["error"]["data"]["nonce"]
    with pytest.raises(EOFError):
        await peer.hear()


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"mac": "00" * 32},
        {"client_nonce": "zz" * 32, "mac": "00" * 32},
        {"client_nonce": "00", "mac": "00"},
    ],
)
async def test_what_is_no_proof_is_invalid_and_no_failure(peer: WirePeer, params: dict[str, str]) -> None:
    nonce = (await peer.open())["result"]["auth"]["nonce"]
    for _ in range(4):
        assert kind(await peer.call("authenticate", params)) == "invalid_params"
    assert "result" in await peer.call("authenticate", proof(nonce))


async def test_a_fourth_guess_in_the_same_bytes_is_not_looked_at() -> None:
    peer = WirePeer(policy=AuthPolicy(keys=KeyStore(single="the right key")))
    await peer.open()
    guesses = ["wrong"] * 3 + ["the right key"]
    peer.say(
        [
            {"jsonrpc": "2.0", "id": n, "method": "authenticate", "params": {"api_key": guess}}
            for n, guess in enumerate(guesses)
        ]
    )
    answers = await peer.hear()
    assert [kind(answer) for answer in answers] == ["unauthenticated"] * 4
    assert [answer["error"]["data"]["scheme"] for answer in answers] == ["api_key"] * 4
    await peer.peer.ended.wait()


async def test_a_file_of_keys_that_vanishes_is_an_internal_error_and_the_connection_goes_on(
    tmp_path: Path,
) -> None:
    file = tmp_path / "keys.json"
    file.write_text('{"keys": []}')
    peer = WirePeer(policy=AuthPolicy(keys=KeyStore(file)))
    await peer.open()
    file.unlink()
    assert kind(await peer.call("authenticate", {"api_key": "any"})) == "internal_error"
    assert "result" in await peer.call("ping")
    assert peer.host.budget.held == 0
