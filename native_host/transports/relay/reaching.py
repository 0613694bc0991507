"""Finds the daemon that a relay is to speak with, or starts it.

Only a socket of the same user is trusted: the folder must be one that nobody else can write to, the socket
the user's own, and so the process that listens, as the kernel knows it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import stat
import sys
import time
from pathlib import Path

from native_host.platform.parent import Parent
from native_host.platform.peer import peer_uid

_CONNECT_S = 5.0
_START_S = 60.0
_ATTEMPTS = 3
"""How often a daemon is started that does not come to listen: one that is about to end may hold the lock."""
_LOOK_S = 0.1
_MAIN = f"""\
import sys
sys.path[:] = [*filter(None, sys.path), {str(Path(__file__).parents[3])!r}]
from native_host.__main__ import main
sys.exit(main())
"""
"""What the daemon's process runs. Not `-m native_host`: that imports from the folder that it is started in,
which is the browser's and may be anybody's. It stays there for the sake of relative paths in the environment.
"""


class UntrustedError(Exception):
    """What listens, or could listen, at the socket's place may be somebody else's; the text says what."""


class BrowserGoneError(Exception):
    """Nobody waits for a daemon any more."""


def connect(path: Path) -> socket.socket | None:
    """A connection to the daemon; None where none listens. Raises UntrustedError."""
    if not path.is_socket():
        return None
    _check(path)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(_CONNECT_S)
        connected.connect(str(path))
    except OSError:  # left behind by a daemon that was killed, or just being closed
        connected.close()
        return None
    uid = peer_uid(connected)
    if uid is not None and uid != os.geteuid():
        connected.close()
        raise UntrustedError(f"a process of user {uid} listens at {path}")
    return connected


def _check(path: Path) -> None:
    try:
        found, folder = path.lstat(), path.parent.stat()
    except OSError as error:
        raise UntrustedError(f"{path}: {error.strerror}") from error
    if found.st_uid != os.geteuid():
        raise UntrustedError(f"{path} belongs to user {found.st_uid}")
    others_write = folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not folder.st_mode & stat.S_ISVTX
    if others_write or folder.st_uid not in (os.geteuid(), 0):
        raise UntrustedError(f"others may put files into {path.parent}: chmod 700 it")


class Starter:
    """Starts a daemon for a browser that waits. One relay at a time does so; the others wait for its
    success.
    """

    def __init__(self, path: Path, idle_exit: str, browser: int, parent: Parent) -> None:
        """`browser` is the descriptor that the browser's frames come from: where it closes it, it has
        gone.
        """
        self._path = path
        self._command = [sys.executable, "-c", _MAIN, "serve", "--json", "--socket", str(path)]
        self._command += ["--idle-exit", idle_exit]
        self._browser = browser
        self._parent = parent

    def connect(self) -> socket.socket | None:
        """A connection to the daemon, started if need be; None where it does not come to listen.

        Raises BrowserGoneError, UntrustedError, OSError.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(
            self._path.with_name(self._path.name + ".start.lock"),
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        try:
            return self._connect(lock)
        finally:
            os.close(lock)

    def _connect(self, lock: int) -> socket.socket | None:
        deadline = time.monotonic() + _START_S
        attempts = 0
        while attempts < _ATTEMPTS and time.monotonic() < deadline:
            ours = _take(lock)
            found = connect(self._path)
            if found is not None:
                return found
            if ours:
                attempts += 1
                if self._start(deadline):
                    continue
            self._wait(_LOOK_S)
        return connect(self._path)

    def _start(self, deadline: float) -> bool:
        """Start a daemon and wait until it listens; False for one that ended instead."""
        reading, writing = os.pipe()
        try:
            process = os.posix_spawn(
                self._command[0],
                self._command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                ],
                setsid=True,  # what ends the browser and its children is not to end it
            )
            os.close(writing)
            writing = -1
            self._wait(deadline - time.monotonic(), reading)
            listens = bool(os.read(reading, 1))
        finally:
            os.close(reading)
            if writing != -1:
                os.close(writing)
        if not listens:
            os.waitpid(process, 0)
        return listens

    def _wait(self, seconds: float, descriptor: int | None = None) -> None:
        """Wait so long, or until the descriptor can be read. Raises BrowserGoneError, TimeoutError."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._browser, 0)
        if descriptor is not None:
            poller.register(descriptor, select.POLLIN)
        if self._parent.descriptor is not None:
            poller.register(self._parent.descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = [found for found, _ in poller.poll(min(left, self._parent.wait_s or left) * 1000)]
            if self._browser in ready or self._parent.dead:
                raise BrowserGoneError
            if ready:
                return
        if descriptor is not None:
            raise TimeoutError


def _take(lock: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
