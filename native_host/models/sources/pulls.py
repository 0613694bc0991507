"""Pulls that are under way in this host: one for each source, however many ask, each in a child process."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from pathlib import Path

import msgspec

from native_host.models.sources.child import Order, Refused, Word
from native_host.models.sources.download import Downloaded, OnStep, Step
from native_host.models.sources.source import HubSource, RemoteSource
from native_host.models.sources.store import Store
from native_host.protocol import errors
from native_host.protocol.errors import RpcError, from_wire
from native_host.telemetry.logs import Log
from native_host.workers.launcher import PACKAGE_ROOT, child_environment, describe_exit

log = Log("models")

_LINE_LIMIT = 1 << 20


class _Pull:
    """One pull, and who waits for it."""

    def __init__(self, task: asyncio.Task[Downloaded]) -> None:
        self.task = task
        self.waiters = 0
        self.listeners: set[OnStep] = set()
        self.newest: Step | None = None


class Pulls:
    """Starts pulls, and lets those who ask for the same share one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[RemoteSource, _Pull] = {}
        self._tasks: set[asyncio.Task[Downloaded]] = set()
        self._stopping = False

    async def pull(self, source: RemoteSource, on_step: OnStep) -> Downloaded:
        """Have a model on this machine; when the last who asks is cancelled, the pull stops, to be gone on
        with another time. Raises download_failed and shutting_down.
        """
        if self._stopping:
            raise errors.shutting_down()
        pull = self._running.get(source) or self._begin(source)
        pull.waiters += 1
        pull.listeners.add(on_step)
        if pull.newest is not None:
            on_step(pull.newest)
        try:
            return await asyncio.shield(pull.task)
        except asyncio.CancelledError:
            if self._stopping and pull.task.cancelled():
                raise errors.shutting_down() from None
            raise
        finally:
            pull.waiters -= 1
            pull.listeners.discard(on_step)
            if not pull.waiters:
                self._forget(source, pull)
                pull.task.cancel()

    def busy(self, folder: Path) -> bool:
        """Whether something is being pulled into this folder."""
        store = Store(self._folder)
        return any(store.shelf(source).folder == folder for source in self._running)

    async def stop(self) -> None:
        """End all pulls; what arrived is kept."""
        self._stopping = True
        for pull in self._running.values():  # those that were cancelled before are on their way out
            pull.task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, source: RemoteSource) -> _Pull:
        pull = _Pull(asyncio.get_running_loop().create_task(self._run(source)))
        self._running[source] = pull
        self._tasks.add(pull.task)
        pull.task.add_done_callback(lambda task: self._done(source, pull, task))
        return pull

    def _done(self, source: RemoteSource, pull: _Pull, task: asyncio.Task[Downloaded]) -> None:
        self._forget(source, pull)
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to hear of it

    def _forget(self, source: RemoteSource, pull: _Pull) -> None:
        if self._running.get(source) is pull:
            del self._running[source]

    async def _run(self, source: RemoteSource) -> Downloaded:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "native_host.models.sources.child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                start_new_session=True,
                cwd=PACKAGE_ROOT,
                env=child_environment(),
            )
        except OSError as error:
            raise errors.download_failed(str(source), f"no process for it: {error}", True) from error
        log.info("pull.started", source=_logged(source), pid=process.pid)
        try:
            return await self._listen(process, source)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _listen(self, process: asyncio.subprocess.Process, source: RemoteSource) -> Downloaded:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(Order(source, str(self._folder))) + b"\n")
        while line := await process.stdout.readline():
            word = msgspec.json.decode(line, type=Word)
            if isinstance(word, Downloaded):
                log.info("pull.done", source=_logged(source), fetched_bytes=word.fetched_bytes)
                return word
            if isinstance(word, Refused):
                raise from_wire(word.code, word.message, word.data)
            self._tell(source, word)
        raise _died(source, describe_exit(await process.wait()))

    def _tell(self, source: RemoteSource, step: Step) -> None:
        pull = self._running.get(source)
        if pull is not None:
            pull.newest = step
            for listener in list(pull.listeners):
                listener(step)


def _logged(source: RemoteSource) -> str:
    """Without what may be a secret in an address."""
    return str(source) if isinstance(source, HubSource) else source.url.partition("?")[0]


def _died(source: RemoteSource, how: str) -> RpcError:
    incident = secrets.token_hex(6)
    log.warning("pull.died", source=_logged(source), how=how, incident=incident)
    return errors.download_failed(str(source), f"its process {how}; the log has it as {incident}", True)
