"""A peer that speaks JSON-RPC by hand over the memory transport: what the tests look at is what was on the
wire."""

from __future__ import annotations

import json
from typing import Any

from toy_service import ToyService

from native_host.guard.grants import Grant, Grants
from native_host.guard.handshake import AuthPolicy, Handshake
from native_host.protocol.identity import ALL_SCOPES
from native_host.protocol.limits import MAX_FRAME_BYTES
from native_host.settings import Settings
from native_host.transports.host import Host
from native_host.transports.memory import MemoryPeer


class Everything(Grants):
    """Every origin may do everything."""

    def __init__(self) -> None:
        super().__init__(None)

    def find(self, origin: str) -> Grant | None:
        return Grant(origin, ALL_SCOPES)


class WirePeer:
    """One connection to a host of its own, or to one that is given."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        policy: AuthPolicy | None = None,
        host: Host | None = None,
        origin: str | None = None,
        max_frame_out: int = MAX_FRAME_BYTES,
        handshake: Handshake | None = None,
    ) -> None:
        self.service = ToyService()
        self.host = host or Host(self.service, settings or Settings(), policy)
        self.peer = MemoryPeer(self.host, origin=origin, max_frame_out=max_frame_out, handshake=handshake)
        self.seen: list[Any] = []

    def say(self, document: object) -> None:
        """Send one frame with this JSON."""
        self.peer.send(json.dumps(document).encode())

    def ask(self, method: str, params: object = None, id_: object = 1) -> None:
        """Send a request."""
        message = {"jsonrpc": "2.0", "id": id_, "method": method}
        self.say(message if params is None else {**message, "params": params})

    def notify(self, method: str, params: object) -> None:
        """Send a notification."""
        self.say({"jsonrpc": "2.0", "method": method, "params": params})

    async def hear(self) -> Any:  # noqa: ANN401
        """The next document from the host."""
        document = json.loads(await self.peer.receive())
        self.seen.append(document)
        return document

    async def call(self, method: str, params: object = None, id_: object = 1) -> Any:  # noqa: ANN401
        """Send a request and wait for its answer; what came before it is in `seen`."""
        self.ask(method, params, id_)
        while True:
            document = await self.hear()
            if isinstance(document, dict) and "method" not in document and document["id"] == id_:
                return document

    async def open(self, **client: object) -> Any:  # noqa: ANN401
        """`initialize`."""
        about = {"name": "test", "version": "1", **client}
        return await self.call("initialize", {"protocol_version": "1", "client": about}, "init")


def kind(answer: Any) -> str:  # noqa: ANN401
    """The kind of an error answer."""
    return str(answer["error"]["data"]["kind"])
