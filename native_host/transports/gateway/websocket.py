"""`/ws`: the host's own JSON-RPC over a WebSocket, one text message a JSON document.

A connection like any other: handshake, limits, cancelling and back pressure are `transports.connection`'s.
Here is who connects, and what carries the messages; pages of others have been turned away by the `door`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from native_host.guard.addresses import counted_as
from native_host.guard.handshake import AuthPolicy, Handshake
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.frames import MESSAGES
from native_host.protocol.identity import Identity
from native_host.transports.connection import Admit, Connection
from native_host.transports.gateway.authentication import admission, shows_credentials
from native_host.transports.gateway.dialects import OWN, refusal
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.websocket_connection import HANDSHAKE_S, MOST_STRANGERS
from native_host.transports.host import Host

_NO_TEXT = 1003
"""The WebSocket's code for a kind of message that is not taken."""


def router(gateway: Gateway) -> APIRouter:
    """The route."""
    routes = APIRouter()
    policy = gateway.host.policy.for_strangers()

    @routes.websocket("/ws")
    async def websocket(socket: WebSocket) -> None:
        try:
            known = await _known(gateway, policy, socket)
            address = counted_as(socket.state.client_address)
            if known is None and not socket.state.carrier.wait_for_identity(address):
                raise errors.overloaded(MOST_STRANGERS, HANDSHAKE_S)
        except RpcError as error:
            await socket.send_denial_response(refusal(error, OWN))
            return
        await socket.accept()
        handshake = Handshake(policy, known=known)
        await WebSocketPipe(gateway.host, socket, handshake, admission(gateway.host, socket)).run()

    return routes


class WebSocketPipe:
    """What a connection writes to (`outlet.Pipe`), and what reads for it."""

    def __init__(self, host: Host, socket: WebSocket, handshake: Handshake, admit: Admit) -> None:
        self._host = host
        self._socket = socket
        self._handshake = handshake
        self._let_in = False
        self._mark = host.settings.out_queue
        self._queue: deque[bytes] = deque()
        self._buffered = 0
        self._full = False
        self._closing = False
        self._to_write = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._connection = Connection(
            host,
            self,
            name=f"websocket-{host.next_number()}",
            on_end=lambda _: None,
            framing=MESSAGES,
            handshake=handshake,
            admit=admit,
        )

    async def run(self) -> None:
        """Carry messages until one side ends the connection."""
        self._welcome()
        writing = asyncio.create_task(self._write_all())
        reading = asyncio.create_task(self._read_all())
        try:
            await asyncio.wait((writing, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._connection.end(flush=False)
            for task in (writing, reading):
                task.cancel()
            await asyncio.wait((writing, reading))
            self._log_failures(writing, reading)
            await self._connection.finished()

    # What the connection asks for

    def write(self, data: bytes) -> None:
        """Queue a message."""
        self._queue.append(data)
        self._buffered += len(data)
        self._to_write.set()
        if not self._full and self._buffered > self._mark:
            self._full = True
            self._connection.pause()

    def buffered(self) -> int:
        """How many bytes the socket has not taken."""
        return self._buffered

    def pause_reading(self) -> None:
        """Take no more from the peer for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Go on taking."""
        self._may_read.set()

    def close(self) -> None:
        """Write what is queued, then close."""
        self._closing = True
        self._to_write.set()

    def abort(self) -> None:
        """Close at once."""
        self._queue.clear()
        self.close()

    # What the socket does

    async def _write_all(self) -> None:
        """Send what is queued, in order; return once the socket is closed."""
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # closed by the other side meanwhile
            while True:
                await self._to_write.wait()
                self._to_write.clear()
                while self._queue:
                    data = self._queue.popleft()
                    await self._socket.send_text(data.decode())
                    self._sent(len(data))
                if self._closing:
                    await self._socket.close()
                    return

    def _sent(self, count: int) -> None:
        self._buffered -= count
        if self._full and self._buffered <= self._mark // 4:
            self._full = False
            self._connection.resume()

    async def _read_all(self) -> None:
        """Hand over what comes; return when the peer has gone."""
        while True:
            await self._may_read.wait()
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None:
                await self._socket.close(_NO_TEXT, "messages are JSON texts")
                return
            self._connection.receive(text.encode())
            self._welcome()

    def _welcome(self) -> None:
        """Treat the peer as somebody who is known, once it is."""
        if not self._let_in and self._handshake.trusted:
            self._let_in = True
            self._socket.state.carrier.let_in()

    def _log_failures(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            error = None if task.cancelled() else task.exception()
            if error is not None:
                self._host.incident("websocket.failed", error, connection=self._connection.name)


async def _known(gateway: Gateway, policy: AuthPolicy, socket: WebSocket) -> Identity | None:
    """Who connects; None where `authenticate` must tell. Pages cannot send headers along with a WebSocket.

    Raises unauthenticated for a wrong key, and where no key could be right.
    """
    try:
        return await gateway.authenticate(socket)
    except RpcError as error:
        no_way_in = policy.nothing_to_show or shows_credentials(socket, gateway.host.settings.key_header)
        if error.kind != "unauthenticated" or no_way_in:
            raise
        return None
