"""Whatever a browser's extension sends, the daemon takes it for that extension, or for nobody.

The introduction stands before a real connection; the service behind it notes who asks.
"""

from __future__ import annotations

import json
import random

import pytest
from toy_service import ToyService
from wire_peer import Everything

from native_host.guard.handshake import AuthPolicy
from native_host.protocol.frames import HEADER, encode_frame
from native_host.protocol.identity import Identity
from native_host.protocol.messages import Params
from native_host.service.context import RequestContext
from native_host.settings import Settings
from native_host.transports.browser import BrowserParent
from native_host.transports.host import Host
from native_host.transports.memory import MemoryPeer
from native_host.transports.relay.introduction import MOST_BYTES, Introduction

ORIGIN = "chrome-extension://abcdefghijklmnopabcdefghijklmnop/"
VICTIM = f"chrome-extension://{'p' * 32}/"


class Nosy(ToyService):
    """Notes who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.askers: list[Identity] = []

    async def handle(self, method: str, params: Params, context: RequestContext) -> object:
        self.askers.append(context.identity)
        return await super().handle(method, params, context)


class Extension:
    """An extension whose frames pass the introduction on their way to a connection."""

    def __init__(self) -> None:
        self.service = Nosy()
        self.introduction = Introduction(BrowserParent(ORIGIN))
        self.peer = MemoryPeer(Host(self.service, Settings(), AuthPolicy(grants=Everything())))
        self.passed = b""
        self._numbers = 0

    def feed(self, data: bytes) -> None:
        """Bytes from the browser, as the relay takes them: none while it waits."""
        assert not self.introduction.waiting
        self._pass(self.introduction.to_daemon(data))

    def _pass(self, data: bytes) -> None:
        self.passed += data
        self.peer.feed(data)
        while self.peer.pipe.written:
            written = self.peer.pipe.take()
            self.introduction.from_daemon(written)
            self._heard(written)
        if self.introduction.holds:
            held = self.introduction.to_daemon(b"")
            if held:
                self._pass(held)

    def _heard(self, data: bytes) -> None:
        self.peer._payloads += [bytes(cut.payload) for cut in self.peer._frames.feed(data)]  # type: ignore[union-attr]

    def say(self, document: object) -> None:
        self.feed(encode_frame(document if isinstance(document, bytes) else json.dumps(document).encode()))

    async def call(self, method: str, params: object) -> dict[str, dict[str, object]]:
        """Ask; the answer."""
        self._numbers += 1
        id_ = f"call-{self._numbers}"
        self.say({"jsonrpc": "2.0", "id": id_, "method": method, "params": params})
        while True:
            self._heard_more()
            answer = json.loads(await self.peer.receive())
            if isinstance(answer, dict) and answer.get("id") == id_:
                return answer

    def _heard_more(self) -> None:
        if self.peer.pipe.written:
            written = self.peer.pipe.take()
            self.introduction.from_daemon(written)
            self._heard(written)


@pytest.fixture
async def extension() -> Extension:
    return Extension()


def initialize(id_: object = 1, version: str = "1", **client: object) -> dict[str, object]:
    about = {"name": "x", "version": "1", **client}
    params = {"protocol_version": version, "client": about}
    return {"jsonrpc": "2.0", "id": id_, "method": "initialize", "params": params}


def text(document: object) -> str:
    return json.dumps(document)


CLAIMED = text(initialize(origin=VICTIM))
PING = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
LONG = b" " * MOST_BYTES
CHEATS: dict[str, list[object]] = {
    "nothing is claimed": [initialize()],
    "a claimed origin": [initialize(origin=VICTIM)],
    "no origin, as null": [initialize(origin=None)],
    "an empty origin": [initialize(origin="")],
    "an origin of another type": [initialize(origin=["x"])],
    "a wrong one, then a claimed one": [initialize(version="9"), initialize(origin=VICTIM)],
    "a second one": [initialize(), initialize(origin=VICTIM)],
    "a second one of another id": [initialize(1), initialize(2, origin=VICTIM)],
    "in a batch": [[initialize(origin=VICTIM)]],
    "two in a batch": [[initialize(1, version="9"), initialize(2, origin=VICTIM)]],
    "in a batch behind others": [[PING, 5, [], initialize(origin=VICTIM)]],
    "a batch in a batch": [[[initialize(origin=VICTIM)]], [initialize(origin=VICTIM)]],
    "after pings": [PING, PING, initialize(origin=VICTIM)],
    "after a ping of the same id": [{**PING, "id": 1}, initialize(1, "9"), initialize(1, origin=VICTIM)],
    "after garbage": [b"", b"\xff", b"{", b"[]", b"null", initialize(origin=VICTIM)],
    "behind white space": [(" \r\n\t" + CLAIMED + " \n").encode()],
    "escaped names": [
        CLAIMED.replace("method", "m\\u0065thod")
        .replace("initialize", "\\u0069nitialize")
        .replace("origin", "orig\\u0069n")
        .replace("client", "cl\\u0069ent")
        .encode()
    ],
    "an escaped value of jsonrpc": [CLAIMED.replace('"2.0"', '"\\u0032.0"').encode(), initialize()],
    "two origins": [CLAIMED.replace('"origin"', f'"origin": "{ORIGIN}", "origin"').encode()],
    "two clients": [
        CLAIMED.replace('"client"', '"client": {"name": "a", "version": "b"}, "client"').encode()
    ],
    "two params": [CLAIMED.replace('"params"', '"params": {}, "params"').encode()],
    "two methods": [CLAIMED.replace('"method"', '"method": "ping", "method"').encode()],
    "two methods, the other way": [
        CLAIMED.replace('"initialize"', '"initialize", "method": "ping"').encode(),
        initialize(origin=VICTIM),
    ],
    "two ids": [CLAIMED.replace('"id"', '"id": 1e999, "id"').encode()],
    "a number that is too long": [CLAIMED.replace('"id"', f'"id": {"9" * 6000}, "id"').encode()],
    "more members": [
        {**initialize(origin=VICTIM), "more": 1},
        CLAIMED.replace('"name"', '"more": 1, "name"').encode(),
    ],
    "params in an array": [{**PING, "method": "initialize", "params": ["1", {"origin": VICTIM}]}],
    "no client": [{**PING, "method": "initialize", "params": {"protocol_version": "1"}}],
    "no params": [{**PING, "method": "initialize"}, {**PING, "method": "initialize", "params": None}],
    "a notification": [
        {name: value for name, value in initialize(origin=VICTIM).items() if name != "id"},
        initialize(origin=VICTIM),
    ],
    "an id that is none": [initialize({"a": 1}, origin=VICTIM), initialize(None, origin=VICTIM)],
    "deep nesting": [
        b"[" * 5000,
        CLAIMED.replace('"name"', '"a":' + "[" * 300 + "]" * 300 + ',"name"').encode(),
        b"[" * 5000 + CLAIMED.encode() + b"]" * 5000,
    ],
    "a frame that is too long": [LONG + CLAIMED.encode(), CLAIMED.encode() + LONG],
    "a byte order mark": [b"\xef\xbb\xbf" + CLAIMED.encode()],
    "UTF-16": [CLAIMED.encode("utf-16")],
    "half a character": [CLAIMED.replace('"x"', '"\\ud800"').encode(), CLAIMED.encode()[:-3] + b"\xc3}}"],
    "a big batch": [[initialize(n, version="9") for n in range(64)], [initialize(origin=VICTIM)] * 65],
    "authenticate first": [
        {**PING, "method": "authenticate", "params": {"api_key": "x"}},
        initialize(origin=VICTIM),
    ],
    "an answer": [
        {"jsonrpc": "2.0", "id": 1, "result": {"protocol_version": "1"}},
        initialize(origin=VICTIM),
    ],
    "a name that looks like an answer": [
        initialize(1, version='9"},"result":{"protocol_version":"1"}'),
        initialize(origin=VICTIM),
    ],
}


@pytest.mark.parametrize("way", ["frame by frame", "all at once", "byte by byte", "in random pieces"])
@pytest.mark.parametrize("name", CHEATS)
async def test_nobody_becomes_somebody_else(extension: Extension, name: str, way: str) -> None:
    frames = [
        encode_frame(each) if isinstance(each, bytes) and each else _framed(each) for each in CHEATS[name]
    ]
    for piece in _pieces(frames, way):
        extension.feed(piece)
    await extension.call("generate", {"prompt": "who am I"})
    await extension.call("initialize", initialize(origin=VICTIM)["params"])
    await extension.call("generate", {"prompt": "who am I"})
    assert {identity.owner for identity in extension.service.askers} == {f"origin\0{ORIGIN}"}


def _framed(document: object) -> bytes:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HEADER.pack(len(payload)) + payload


def _pieces(frames: list[bytes], way: str) -> list[bytes]:
    if way == "frame by frame":
        return frames
    stream = b"".join(frames)
    if way == "all at once":
        return [stream]
    dice = random.Random(len(stream))
    most = 1 if way == "byte by byte" and len(stream) < MOST_BYTES else 1 + len(stream) // 50
    pieces = []
    while stream:
        count = dice.randrange(1, most + 1)
        pieces.append(stream[:count])
        stream = stream[count:]
    return pieces


async def test_the_browsers_limit_is_filled_in(extension: Extension) -> None:
    answer = await extension.call("initialize", initialize(max_frame_in=60_000_000)["params"])
    assert answer["result"]["limits"]["max_frame_out"] == 1_048_576  # type: ignore[index]


async def test_smaller_frames_may_be_asked_for(extension: Extension) -> None:
    answer = await extension.call("initialize", initialize(max_frame_in=5000)["params"])
    assert answer["result"]["limits"]["max_frame_out"] == 5000  # type: ignore[index]


async def test_everything_else_passes_byte_for_byte(extension: Extension) -> None:
    before = encode_frame(b' {"id" : 1E2,"method":"p\\u0069ng", "jsonrpc":"2.0"}')
    extension.feed(before)
    assert extension.passed == before
    await extension.call("initialize", initialize()["params"])
    extension.passed = b""
    after = bytes(range(256)) * 300
    extension.feed(after)
    assert extension.passed == after


async def test_what_comes_behind_it_waits_for_its_answer_and_is_not_looked_at(extension: Extension) -> None:
    behind = encode_frame(json.dumps({**PING, "params": {"x": "y" * MOST_BYTES}}).encode())
    extension.feed(encode_frame(CLAIMED.encode()) + behind)
    assert extension.passed.endswith(behind)


async def test_a_frame_that_is_too_long_is_refused_in_step(extension: Extension) -> None:
    extension.say(PING)
    extension.feed(encode_frame(LONG + CLAIMED.encode()))
    extension.feed(b"x" * 3 + b"\0")
    answers = [json.loads(await extension.peer.receive()) for _ in range(2)]
    assert answers[1]["error"]["data"] == {"kind": "not_initialized", "frame": 2}
    assert str(len(LONG) + len(CLAIMED)) in answers[1]["error"]["message"]
    assert len(extension.passed) < 1000


@pytest.mark.parametrize("at_once", [False, True], ids=["in pieces", "at once"])
def test_the_rest_of_a_frame_that_is_not_held_is_dropped_although_the_session_begins_meanwhile(
    at_once: bool,
) -> None:
    introduction = Introduction(BrowserParent(ORIGIN))
    assert introduction.to_daemon(encode_frame(b"{") + encode_frame(CLAIMED.encode()))
    assert introduction.waiting
    cheat = encode_frame(text(PING).encode())
    body = cheat * (MOST_BYTES // len(cheat) + 1)
    begun, rest = body[: 10 * len(cheat)], body[10 * len(cheat) :]
    refused = encode_frame(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}')
    introduction.from_daemon(refused)  # that of the first frame
    stands_for_it = introduction.to_daemon(HEADER.pack(len(body)) + begun)
    assert b"what a frame of" in stands_for_it
    assert cheat not in stands_for_it
    introduction.from_daemon(
        encode_frame(b'{"jsonrpc":"2.0","id":1,"result":{"protocol_version":"1"}}')  # that of `initialize`
    )
    assert introduction.over
    behind = encode_frame(b'{"jsonrpc":"2.0","id":8,"method":"ping"}')
    if at_once:
        assert introduction.to_daemon(rest + behind) == behind
    else:
        pieces = [rest[at : at + 5000] for at in range(0, len(rest), 5000)]
        assert {introduction.to_daemon(piece) for piece in pieces} == {b""}
        assert introduction.to_daemon(behind) == behind
    assert introduction.to_daemon(body) == body
