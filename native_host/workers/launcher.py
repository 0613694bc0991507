"""Starts worker processes. Behind an interface, so that a worker can one day live on another machine.

A launched worker has a socket to the host and nothing else of it: no other descriptor, no terminal, no
standard input; whatever it or a native library prints goes line by line to the host's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import native_host

_LINE_LIMIT = 4096
PACKAGE_ROOT = Path(native_host.__file__).parent.parent
"""Where child processes run: `python -m native_host` finds this package there, and no other."""

OnLine = Callable[[str], None]


class WorkerHandle(Protocol):
    """A running worker, as far as the supervisor needs to know."""

    @property
    def pid(self) -> int | None:
        """Its process id, where it is a process of this machine."""

    @property
    def socket(self) -> socket.socket:
        """The host's end of the socket to it."""

    async def wait(self) -> str:
        """Wait for its end; says how it ended ("was killed by SIGKILL")."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it, and whatever it started."""


class Launcher(Protocol):
    """Whoever can start a worker."""

    async def launch(self, on_line: OnLine) -> WorkerHandle:
        """Start one; `on_line` gets every line that it prints. Raises OSError."""


class ProcessLauncher:
    """Workers as child processes of the host."""

    def __init__(
        self, command: tuple[str, ...] = (sys.executable, "-m", "native_host.workers.entry")
    ) -> None:
        self._command = command

    async def launch(self, on_line: OnLine) -> WorkerHandle:
        """Start a child in a session of its own: a terminal's Ctrl-C is meant for the host."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    "--fd",
                    str(theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                    cwd=PACKAGE_ROOT,
                    env=child_environment(),
                )
        except BaseException:
            ours.close()
            raise
        return ProcessHandle(process, ours, on_line)


class ProcessHandle:
    """A worker that is a child process, and the leader of its process group."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket, on_line: OnLine) -> None:
        self._process = process
        self._socket = ours
        self._output = asyncio.create_task(self._read_output(on_line))

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    @property
    def socket(self) -> socket.socket:
        """The host's end."""
        return self._socket

    async def wait(self) -> str:
        """Wait for the child's end."""
        return describe_exit(await self._process.wait())

    def terminate(self) -> None:
        """SIGTERM to its group."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to its group."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # Once the child is reaped its id may belong to somebody else.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    async def _read_output(self, on_line: OnLine) -> None:
        stream = self._process.stdout
        assert stream is not None
        rest = b""
        while chunk := await stream.read(_LINE_LIMIT):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LINE_LIMIT:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(line.decode(errors="replace"))
        if rest:
            on_line(rest.decode(errors="replace"))


def describe_exit(returncode: int) -> str:
    """How a process ended, for a person: by which signal, or with which code."""
    if returncode >= 0:
        return f"exited with code {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def child_environment() -> dict[str, str]:
    """The host's environment, with import paths that do not depend on the working directory.

    `python -m` puts the working directory first on the import path, so the child runs in this package's own
    parent folder: it then imports the same package as the host, and nothing that lies wherever the host was
    started.
    """
    environment = dict(os.environ)
    if paths := environment.get("PYTHONPATH"):
        absolute = [os.path.abspath(path) for path in paths.split(os.pathsep) if path]  # noqa: PTH100
        environment["PYTHONPATH"] = os.pathsep.join(absolute)
    return environment
