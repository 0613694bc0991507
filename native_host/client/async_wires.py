"""The byte streams to a host, for asyncio: a child's pipes, or a daemon's socket."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from native_host.client.errors import HandshakeError, HostDied
from native_host.client.spawning import LastWords, Launch, obituary
from native_host.client.wires import EXIT_GRACE_S, READ_SIZE, check_peer


class AsyncWire:
    """Bytes to and from a host, and its end. Made by `open_process` or `open_socket`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        process: asyncio.subprocess.Process | None = None,
        last_words: LastWords | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._process = process
        self._last_words = last_words or LastWords()
        self._listener = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int | None:
        """The child's process id; None for a daemon."""
        return None if self._process is None else self._process.pid

    async def read(self) -> bytes:
        """Whatever has come, waiting for at least one byte; empty at the end. May raise OSError."""
        return await self._reader.read(READ_SIZE)

    def write(self, data: bytes) -> None:
        """Queue all of `data`; without effect once the stream is closing."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def close(self) -> None:
        """End the stream, wait for a child's end, and see to it where it does not come by itself."""
        self._writer.close()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), EXIT_GRACE_S)
            except asyncio.TimeoutError:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    self._process.kill()
                await self._process.wait()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        await self._listener

    async def obituary(self) -> HostDied:
        """Why `read` came to its end. The stream can end a moment before the process, so wait for both."""
        if self._process is None:
            return HostDied(obituary(None))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), EXIT_GRACE_S)
            await asyncio.wait_for(asyncio.shield(self._listener), EXIT_GRACE_S)
        return HostDied(
            obituary(self._process.returncode), self._process.returncode, self._last_words.lines()
        )

    async def _listen(self) -> None:
        if self._process is None or self._process.stderr is None:
            return
        while data := await self._process.stderr.read(READ_SIZE):
            self._last_words.feed(data)
        self._last_words.feed(b"")


async def open_process(launch: Launch, last_words: LastWords) -> AsyncWire:
    """Start a child with its own stdin, stdout and stderr. Raises OSError where it cannot be started."""
    process = await asyncio.create_subprocess_exec(
        *launch.argv,
        env=launch.env,
        pass_fds=launch.pass_fds,
        start_new_session=True,  # Ctrl-C at the terminal is for the parent alone
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return AsyncWire(process.stdout, process.stdin, process, last_words)


async def open_socket(path: Path, uid: int | None) -> AsyncWire:
    """Connect to a daemon. Raises HostDied where nobody listens, and HandshakeError (see `check_peer`)."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(path))
    except OSError as error:
        raise HostDied(f"no host listens at {path}: {error.strerror or error}") from error
    try:
        check_peer(writer.get_extra_info("socket"), path, uid)
    except HandshakeError:
        writer.transport.abort()
        raise
    return AsyncWire(reader, writer)
