"""Listens for HTTP on the host's own loop, until it is told to stop. Signals are the daemon's business."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import uvicorn

from native_host.http_address import HttpAddress
from native_host.protocol.frames import ByteBudget
from native_host.transports.daemon import CannotServeError, Listening
from native_host.transports.ending import within
from native_host.transports.gateway.app import build
from native_host.transports.gateway.authentication import Authentication
from native_host.transports.gateway.door import Door
from native_host.transports.gateway.gateway import Gateway
from native_host.transports.gateway.health import answering_at_once
from native_host.transports.gateway.http_connection import HttpConnection
from native_host.transports.gateway.websocket_connection import WebSocketConnection
from native_host.transports.host import Host

_BACKLOG = 512
_SEND_BUFFER_BYTES = 256 * 1024
"""What the kernel may hold for a client that reads slowly; beyond it its generation waits."""
_KEEP_ALIVE_S = 75
_STOP_S = 1.0


class HttpServer:
    """Listens at `address` from `open` to `close`."""

    def __init__(self, host: Host, address: HttpAddress) -> None:
        """Raises CannotServeError where nobody could ever be let in."""
        somebody = host.settings.open_loopback or host.policy.telegram is not None
        if host.policy.nothing_to_show and not somebody:
            raise CannotServeError(
                "HTTP needs an API key (`native-host keys create NAME` makes one), a shared secret,"
                " or --open-loopback for this machine's own programs"
            )
        self.address = address
        self._host = host
        self._gateway = Gateway(host, Authentication(host))
        self._door = Door(answering_at_once(build(self._gateway), host), host, address)
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to listen. Raises OSError where the address cannot be had."""
        listening = await _bind(self.address)
        self.address = HttpAddress(self.address.host, listening[0].getsockname()[1])
        config = uvicorn.Config(
            self._door,
            http=_connection_class(self._host.settings.stall_timeout_s),
            ws=_websocket_class(self._host.budget),
            ws_max_size=self._host.settings.max_frame_in,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=1,
            backlog=_BACKLOG,
        )
        self._server = _Server(config)
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(listening))
        await self._server.listens.wait()
        if self._serving.done():
            await self._serving
        self._host.log.info("http.listening", address=str(self.address))

    def tell(self, listening: Listening) -> None:
        """Say where."""
        listening.http = self.address

    async def withdraw(self) -> None:
        """Who comes by HTTP in the last moment asks again: a port cannot be left and taken back safely."""

    async def reopen(self) -> None:
        """It never left."""

    async def close(self) -> None:
        """Answer what runs, and close every connection."""
        assert self._server is not None
        assert self._serving is not None
        self._server.should_exit = True
        await within(_STOP_S, self._gateway.close())
        await within(_STOP_S, asyncio.shield(self._serving))
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn's, without handlers for signals, and an event for when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `should_exit`."""
        await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        try:
            await super().startup(sockets)
        finally:
            self.listens.set()


def _websocket_class(budget: ByteBudget) -> type[WebSocketConnection]:
    return type("WebSocket", (WebSocketConnection,), {"budget": budget, "strangers": {}})


def _connection_class(stall_timeout_s: float) -> type[HttpConnection]:
    return type("Connection", (HttpConnection,), {"stall_timeout_s": stall_timeout_s})


async def _bind(address: HttpAddress) -> list[socket.socket]:
    """A socket for each of the host's addresses; `localhost` often has two."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    bound: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, place in dict.fromkeys(found):
            bound.append(_listening(family, (place[0], port, *place[2:])))
            port = bound[0].getsockname()[1]
    except BaseException:
        for each in bound:
            each.close()
        raise
    return bound


def _listening(family: int, place: tuple[Any, ...]) -> socket.socket:
    # Named as TCP, so that asyncio sets TCP_NODELAY on connections: without it each answer's second write
    # waits for an acknowledgement, 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES
        )  # connections inherit it
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(place)
    except OSError as error:
        listening.close()
        raise OSError(f"cannot listen at {place[0]} port {place[1]}: {error.strerror or error}") from error
    listening.setblocking(False)
    return listening
