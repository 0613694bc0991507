"""Blocking byte streams to a host: a child's pipes, or a daemon's socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO, Protocol, cast

from native_host.client.errors import HandshakeError, HostDied
from native_host.client.spawning import LastWords, Launch, obituary
from native_host.platform.peer import peer_uid

READ_SIZE = 256 * 1024
EXIT_GRACE_S = 5.0
"""How long a host may take to end by itself; it promises two seconds."""


class Wire(Protocol):
    """Bytes to and from a host. One thread reads, one writes, any may close."""

    def read(self) -> bytes:
        """Whatever has come, waiting for at least one byte; empty at the end. May raise OSError."""

    def write(self, data: bytes) -> None:
        """All of `data`. May raise OSError."""

    def end_writing(self) -> None:
        """Let the host see the end of our bytes."""

    def close(self) -> None:
        """Wait for the host's end, and see to it where it does not come by itself."""

    def obituary(self) -> HostDied:
        """Why `read` came to its end."""


class ProcessWire:
    """A child's stdin and stdout; its stderr is kept for the obituary."""

    def __init__(self, launch: Launch, last_words: LastWords) -> None:
        self._process = subprocess.Popen(
            launch.argv,
            env=launch.env,
            pass_fds=launch.pass_fds,
            start_new_session=True,  # Ctrl-C at the terminal is for the parent alone
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # plain descriptors: a buffered pipe cannot be closed while a write to it waits
        )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._last_words = last_words
        self._listener = threading.Thread(target=self._listen, name="native-host-stderr", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def read(self) -> bytes:
        """See `Wire`."""
        return self._stdout.read(READ_SIZE)

    def write(self, data: bytes) -> None:
        """See `Wire`."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._stdin.write(rest) :]

    def end_writing(self) -> None:
        """See `Wire`."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def close(self) -> None:
        """Wait for the child, then kill it."""
        try:
            self._process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(EXIT_GRACE_S)

    def obituary(self) -> HostDied:
        """See `Wire`. The stream can end a moment before the process, so wait for both."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_GRACE_S)
        self._listener.join(EXIT_GRACE_S)
        return HostDied(
            obituary(self._process.returncode), self._process.returncode, self._last_words.lines()
        )

    def _listen(self) -> None:
        stderr = cast("IO[bytes]", self._process.stderr)
        with stderr, contextlib.suppress(OSError):
            while data := stderr.read(READ_SIZE):
                self._last_words.feed(data)
        self._last_words.feed(b"")


def check_peer(connected: socket.socket, path: Path, uid: int | None) -> None:
    """See that a process of the user `uid`, our own unless given, listens: another one's is to learn neither
    keys nor prompts. Not even root is an exception. Raises HandshakeError.
    """
    trusted = os.geteuid() if uid is None else uid
    found = peer_uid(connected)
    if found is None:
        raise HandshakeError(f"the system does not tell whose process listens at {path}: it was told nothing")
    if found != trusted:
        raise HandshakeError(
            f"a process of user {found} listens at {path}, not one of user {trusted}, so it was told "
            f"nothing; if user {found} is to be trusted, say connect(…, uid={found})"
        )


class SocketWire:
    """A connection to a daemon's Unix socket. Raises HostDied where nobody listens, and HandshakeError."""

    def __init__(self, path: Path, uid: int | None) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise HostDied(f"no host listens at {path}: {error.strerror or error}") from error
        try:
            check_peer(self._socket, path, uid)
        except HandshakeError:
            self._socket.close()
            raise

    def read(self) -> bytes:
        """See `Wire`."""
        return self._socket.recv(READ_SIZE)

    def write(self, data: bytes) -> None:
        """See `Wire`."""
        self._socket.sendall(data)

    def end_writing(self) -> None:
        """Shut both directions: a daemon goes on for others, so there is no end of it to wait for."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Wire`."""
        self._socket.close()

    def obituary(self) -> HostDied:
        """See `Wire`."""
        return HostDied(obituary(None))
