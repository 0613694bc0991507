"""The host as a daemon: a Unix socket that only its owner can open, one daemon a socket.

A lock file beside the socket is held as long as the daemon lives; the kernel lets go of it however the daemon
ends. So whoever has the lock may remove a socket that a dead daemon left behind, and nobody else may.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from pathlib import Path

from native_host.platform.peer import peer_uid
from native_host.transports.asyncio_pipe import Ends, TransportPipe
from native_host.transports.connection import Connection
from native_host.transports.daemon import Listening
from native_host.transports.ending import within
from native_host.transports.host import Host

_BACKLOG = 128
_STOP_S = 1.0
_LINGER_S = 30.0
"""How long an ended connection may take to read what was queued for it."""

_ACCEPTING_ROUNDS = 16
"""Rounds of the loop after which whoever waits in the backlog has become a connection; it takes some four."""


class SocketError(OSError):
    """The socket cannot be had; the text says why, in one line."""


class SocketServer:
    """Listens at `path` from `open` to `close`. Every peer of the same user gets a connection."""

    def __init__(self, host: Host, path: Path) -> None:
        self.path = path
        self._host = host
        self._lock = -1
        self._socket_id: tuple[int, int] | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()

    async def open(self) -> None:
        """Begin to listen. Raises SocketError if another daemon does, or the path cannot be used."""
        self._lock = _take_lock(self.path)
        try:
            await self._listen()
        except BaseException:
            os.close(self._lock)
            raise
        self._host.log.info("socket.listening", path=str(self.path))

    def tell(self, listening: Listening) -> None:
        """Say where."""
        listening.socket = self.path

    async def withdraw(self) -> None:
        """Be found by nobody new. The lock stays, and keeps other daemons from the place until the end."""
        self._remove_socket()
        for _ in range(_ACCEPTING_ROUNDS):
            await asyncio.sleep(0)

    async def reopen(self) -> None:
        """Be found again, at the same place."""
        if self._server is not None:
            self._server.close()
        await self._listen()

    async def close(self) -> None:
        """End every connection, remove the socket, let go of the lock."""
        if self._server is not None:
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.end()
        for connection in connections:
            await within(_STOP_S, connection.finished())
        self._remove_socket()
        os.close(self._lock)

    async def _listen(self) -> None:
        listening = _listen(self.path)
        found = self.path.lstat()
        self._socket_id = (found.st_dev, found.st_ino)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Ends(self._accept), sock=listening)

    def _accept(self, transport: asyncio.Transport) -> Connection | None:
        connected: socket.socket = transport.get_extra_info("socket")
        uid = peer_uid(connected)
        if uid is not None and uid != os.geteuid():
            self._host.log.warning("socket.refused", uid=uid)
            transport.abort()
            return None
        connection = Connection(
            self._host,
            TransportPipe(transport, transport, self._host.settings.out_queue),
            name=f"socket-{self._host.next_number()}",
            on_end=lambda ended: self._ended(ended, transport),
        )
        self._connections.add(connection)
        return connection

    def _ended(self, connection: Connection, transport: asyncio.Transport) -> None:
        self._connections.discard(connection)
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)

    def _remove_socket(self) -> None:
        """Only if it is still ours: somebody may have put another one in its place."""
        try:
            found = self.path.lstat()
        except OSError:
            return
        if (found.st_dev, found.st_ino) == self._socket_id:
            self.path.unlink()


def _take_lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SocketError(f"{lock}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise SocketError(f"another daemon listens at {path}") from error
    return descriptor


def _answers(path: Path) -> bool:
    """Whether a program that knows nothing of our lock has this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is an answer too
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _listen(path: Path) -> socket.socket:
    """Bind with the lock held. A file there that is no socket, or a socket that somebody listens at, is left
    alone."""
    if path.exists() and not path.is_socket():
        raise SocketError(f"{path} exists and is no socket")
    if _answers(path):
        raise SocketError(f"another program listens at {path}")
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # 0600 from the first moment on: connecting needs the right to write
    try:
        listening.bind(str(path))
    except OSError as error:
        listening.close()
        raise SocketError(f"{path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    listening.listen(_BACKLOG)
    return listening
