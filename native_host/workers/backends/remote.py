"""What backends share whose model is computed by an HTTP server: a pool of connections, a queue before it,
and requests that stream, pause, and end when they are cancelled.

All of it lives in one thread with an event loop, so that nothing here needs a lock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx2

from native_host.protocol.errors import RpcError
from native_host.workers.backends import BackendUnusableError
from native_host.workers.backends.answer import Answer, Reason
from native_host.workers.backends.failures import logged_failure
from native_host.workers.backends.outbox import Outbox
from native_host.workers.backends.waiting import FairQueue
from native_host.workers.messages import Event, GenerateRequest

T = TypeVar("T")
Body = dict[str, Any]
"""What a server is sent or answers: JSON."""


class Asked:
    """A request on its way: its answer, what the server is to be sent, and whether its reader keeps up."""

    def __init__(self, answer: Answer, body: Body) -> None:
        self.answer = answer
        self.body = body
        self.keeps_up = asyncio.Event()
        self.keeps_up.set()


class RemoteBackend:
    """Serves at most `at_once` requests together; the others wait in turn. Those who inherit say what a
    request is for their server (`generate`), and what its refusals mean (`refusal`).
    """

    def __init__(self, at_once: int) -> None:
        self._client = httpx2.AsyncClient()
        self._at_once = at_once
        self._outbox = Outbox()
        self._queue: FairQueue[Asked] = FairQueue()
        self._running: dict[int, tuple[Asked, asyncio.Task[None]]] = {}
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="server", daemon=True)
        self._thread.start()

    async def generate(self, asked: Asked) -> Reason:
        """Have the server answer a request, and pass on what it says. Raises RpcError."""
        raise NotImplementedError

    def refusal(self, status: int, said: Body) -> RpcError:
        """What the server means by an answer that is no success."""
        raise NotImplementedError

    async def lost(self, error: httpx2.HTTPError) -> RpcError:
        """What it means that the server cannot be reached, or broke off."""
        raise NotImplementedError

    def connect(self, client: httpx2.AsyncClient) -> None:
        """Set how the server is reached. To be called once, before anything is asked."""
        self._client = client

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._queue)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the loop and wait for it, from any other thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def enqueue(self, request_id: int, request: GenerateRequest, body: Body, prompt_tokens: int) -> None:
        """Queue a request for `generate`. Raises overloaded."""
        answer = Answer(request_id, request, self._outbox)
        answer.prompt_tokens = prompt_tokens
        self.call(self._enqueue(Asked(answer, body)))

    async def _enqueue(self, asked: Asked) -> None:
        self._queue.add(asked.answer.request_id, asked.answer.request, asked)
        self._begin()

    def _begin(self) -> None:
        while len(self._running) < self._at_once and (asked := self._queue.next()) is not None:
            task = self.loop.create_task(self._serve(asked))
            self._running[asked.answer.request_id] = (asked, task)
            task.add_done_callback(lambda task, asked=asked: self._ended(asked, task))  # type: ignore[misc]

    async def _serve(self, asked: Asked) -> None:
        answer = asked.answer
        try:
            if answer.request.max_tokens == 0:
                answer.start()
                answer.finish("length")
            else:
                answer.finish(await self.generate(asked))
        except RpcError as error:
            answer.fail(error)
        except httpx2.HTTPError as error:
            answer.fail(await self.lost(error))
        except BackendUnusableError as error:
            answer.fail(logged_failure(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for the end
            answer.fail(logged_failure(f"{type(error).__name__}: {error}"))

    def _ended(self, asked: Asked, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # it may not even have begun
            asked.answer.finish("cancelled")
        del self._running[asked.answer.request_id]
        self._begin()

    def cancel(self, request_id: int) -> None:
        """End a request; the connection that it has is closed, by which the server knows."""
        self.loop.call_soon_threadsafe(self._cancel, request_id)

    def _cancel(self, request_id: int) -> None:
        waiting = self._queue.remove(request_id)
        if waiting is not None:
            waiting.answer.finish("cancelled")
        elif request_id in self._running:
            self._running[request_id][1].cancel()

    def pause(self, request_id: int) -> None:
        """Read no more of its answer: the server waits when the connection is full."""
        self.loop.call_soon_threadsafe(self._pace, request_id, False)

    def resume(self, request_id: int) -> None:
        """Read on."""
        self.loop.call_soon_threadsafe(self._pace, request_id, True)

    def _pace(self, request_id: int, keeps_up: bool) -> None:
        asked = self._running[request_id][0] if request_id in self._running else None
        if asked is not None and keeps_up:
            asked.keeps_up.set()
        elif asked is not None:
            asked.keeps_up.clear()

    def drain(self) -> list[Event]:
        """Everything since the last call."""
        return self._outbox.drain()

    def fileno(self) -> int:
        """Readable while events wait."""
        return self._outbox.fileno()

    async def ask(self, path: str, body: Body | None = None) -> Any:  # noqa: ANN401 - whatever JSON it is
        """One answer of the server: to a POST of the body, or to a GET without one. Raises RpcError."""
        try:
            method = "GET" if body is None else "POST"
            response = await self._client.request(method, path, json=body)
        except httpx2.HTTPError as error:
            raise await self.lost(error) from None
        if response.status_code != httpx2.codes.OK:
            raise self.refusal(response.status_code, _said(response))
        return response.json()

    @asynccontextmanager
    async def lines(self, path: str, asked: Asked) -> AsyncIterator[AsyncIterator[str]]:
        """The lines of a streamed answer, none while its reader is behind. Leaving the block ends it."""
        async with self._client.stream("POST", path, json=asked.body) as response:
            if response.status_code != httpx2.codes.OK:
                await response.aread()
                raise self.refusal(response.status_code, _said(response))
            yield self._paced(response, asked)

    async def _paced(self, response: httpx2.Response, asked: Asked) -> AsyncIterator[str]:
        async for line in response.aiter_lines():
            await asked.keeps_up.wait()
            yield line

    def close(self) -> None:
        """End everything that is under way, and the thread."""
        self.call(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        self._outbox.close()

    async def _close(self) -> None:
        while (asked := self._queue.next()) is not None:
            asked.answer.finish("cancelled")
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()


def _said(response: httpx2.Response) -> Body:
    """The JSON of a refusal; nothing where it is none."""
    try:
        said = response.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
