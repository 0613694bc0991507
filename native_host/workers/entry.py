"""The worker process: `python -m native_host.workers.entry --fd N` serves one model over the socket N.

The host's end of that socket is the worker's life line: when it closes, however the host went, the worker
ends at once, in the middle of whatever it does.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import socket
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from native_host.platform.life_line import exit_with_host
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.workers.backends import OPENERS, Backend, BackendUnusableError, Opener, opener
from native_host.workers.backends.failures import give_up
from native_host.workers.derived import derive
from native_host.workers.link import GarbageError, Link, raw
from native_host.workers.messages import (
    CancelNotice,
    DetokenizeRequest,
    EmbedRequest,
    Envelope,
    EventsNotice,
    GenerateRequest,
    LoadRequest,
    PaceNotice,
    Piece,
    ProgressNotice,
    RerankRequest,
    TemplateRequest,
    TokenizeRequest,
    wire_error,
)

_PROGRESS_STEP = 0.01
_BREATH_S = 0.02
"""How long events gather after some text was sent. Each wake-up, here, in the host and in the client, takes a
core from one of the engine's threads, and the others spin until it has it back. Fifty a second are more than
an eye can tell."""


class WorkerServer:
    """Answers the host's requests with one backend.

    What may block (loading, tokenizing, submitting) runs on one thread in the order of arrival, so that the
    event loop always hears of cancellations and passes events on. Embeddings and reranking compute for long;
    they have a thread of their own.
    """

    def __init__(self, openers: dict[str, Opener]) -> None:
        self._openers = openers
        self._backend: Backend | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="text")
        self._vectors = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vectors")
        self._submitting: set[int] = set()
        self._cancelled: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()
        self._full = False
        self._loop = asyncio.get_running_loop()
        self._link = Link(self._receive, self._lost, self._pressure)
        self._calls: dict[str, Callable[[int, msgspec.Raw], msgspec.Raw]] = {
            "load": self._load,
            "generate": self._generate,
            "embed": self._embed,
            "rerank": self._rerank,
            "tokenize": self._tokenize,
            "detokenize": self._detokenize,
            "apply_template": self._apply_template,
        }

    async def serve(self, sock: socket.socket) -> None:
        """Serve until the host closes its end."""
        await self._loop.create_unix_connection(lambda: self._link, sock=sock)
        await self._gone.wait()

    def _lost(self, reason: Exception | None) -> None:
        self._gone.set()

    def _pressure(self, full: bool) -> None:
        """Leave events in the engine while the host is slow to read."""
        self._full = full
        if full:
            self._unlisten()
        else:
            self._listen()

    def _listen(self) -> None:
        fd = self._descriptor()
        if fd is not None and not self._full:
            self._loop.add_reader(fd, self._drain)

    def _unlisten(self) -> None:
        fd = self._descriptor()
        if fd is not None:
            self._loop.remove_reader(fd)

    def _descriptor(self) -> int | None:
        """What tells of events; models that do not generate have none."""
        return self._backend.fileno() if self._backend is not None else None

    def _receive(self, envelope: Envelope) -> None:
        if envelope.method == "$/cancelRequest":
            self._cancel(msgspec.json.decode(envelope.params, type=CancelNotice).id)
        elif envelope.method in ("$/pause", "$/resume"):
            self._pace(msgspec.json.decode(envelope.params, type=PaceNotice).id, envelope.method)
        elif envelope.id is not None and envelope.method in self._calls:
            self._submitting.add(envelope.id)
            task = self._loop.create_task(self._answer(envelope.id, envelope.method, envelope.params))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            raise GarbageError(f"no method {envelope.method!r}")

    async def _answer(self, request_id: int, method: str, params: msgspec.Raw) -> None:
        reply = Envelope(id=request_id)
        try:
            call = self._calls[method]
            pool = self._vectors if method in ("embed", "rerank") else self._pool
            reply.result = await self._loop.run_in_executor(pool, call, request_id, params)
        except RpcError as error:
            reply.error = wire_error(error)
        except BackendUnusableError as error:
            give_up(str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits for an answer
            reply.error = wire_error(unexpected(error, method))
        self._submitting.discard(request_id)
        if method == "load":
            self._listen()
        if request_id in self._cancelled:
            self._cancelled.discard(request_id)
            self._cancel(request_id)
        self._link.send(reply)

    def _cancel(self, request_id: int) -> None:
        """Cancel now, or as soon as the request has reached the engine."""
        if request_id in self._submitting:
            self._cancelled.add(request_id)
        elif self._backend is not None:
            self._backend.cancel(request_id)

    def _pace(self, request_id: int, method: str) -> None:
        """Pause or resume. The host has heard of events by then, so the engine knows the request."""
        if self._backend is None:
            return
        if method == "$/pause":
            self._backend.pause(request_id)
        else:
            self._backend.resume(request_id)

    def _drain(self) -> None:
        """Send everything that happened in one frame; after text, let more gather before the next."""
        if self._backend is None:
            return
        events = self._backend.drain()
        if not events:
            return
        if any(isinstance(event, Piece) for event in events):
            self._unlisten()
            self._loop.call_later(_BREATH_S, self._listen)
        self._link.send(Envelope(method="$/events", params=raw(EventsNotice(events))))

    def _load(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        request = msgspec.json.decode(params, type=LoadRequest)
        told = -1.0

        def progress(fraction: float) -> None:
            nonlocal told
            if fraction - told >= _PROGRESS_STEP or fraction >= 1.0 > told:
                told = fraction
                notice = Envelope(
                    method="$/progress", params=raw(ProgressNotice(request_id, "load", fraction))
                )
                self._loop.call_soon_threadsafe(self._link.send, notice)

        progress(0.0)
        if request.derived_from is not None:
            derive(Path(request.derived_from), Path(request.path), request.backend)
        open_backend = opener(request.backend, self._openers)
        self._backend = open_backend(request.path, request.options, progress)
        return raw(self._backend.info)

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise errors.invalid_params("", "no model is loaded in this worker")
        return self._backend

    def _generate(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        if request_id in self._cancelled:  # while it waited for this thread: its text need not be read
            raise errors.cancelled()
        self._loaded().submit(request_id, msgspec.json.decode(params, type=GenerateRequest))
        return raw(None)

    def _embed(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        request = msgspec.json.decode(params, type=EmbedRequest)
        return raw(self._loaded().embed(request, lambda: request_id in self._cancelled))

    def _rerank(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        request = msgspec.json.decode(params, type=RerankRequest)
        return raw(self._loaded().rerank(request, lambda: request_id in self._cancelled))

    def _tokenize(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        request = msgspec.json.decode(params, type=TokenizeRequest)
        return raw(self._loaded().tokenize(request.text, request.add_special, request.parse_special))

    def _detokenize(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        return raw(self._loaded().detokenize(msgspec.json.decode(params, type=DetokenizeRequest).tokens))

    def _apply_template(self, request_id: int, params: msgspec.Raw) -> msgspec.Raw:
        request = msgspec.json.decode(params, type=TemplateRequest)
        return raw(self._loaded().apply_template(request))


def unexpected(error: Exception, method: str) -> RpcError:
    """The answer to a fault of our own. Where it happened goes to the log, by way of stderr, under one id;
    the exception's text does not, since it may quote a prompt.
    """
    incident = secrets.token_hex(6)
    frames = "".join(traceback.format_tb(error.__traceback__))
    sys.stderr.write(f"incident {incident}: {method} failed: {type(error).__name__}\n{frames}")
    sys.stderr.flush()
    return errors.internal_error(incident)


async def _serve(sock: socket.socket, openers: dict[str, Opener]) -> None:
    await WorkerServer(openers).serve(sock)


def main(argv: list[str] | None = None, openers: dict[str, Opener] | None = None) -> None:
    """Serve on the socket that `--fd` names, until the host is gone."""
    parser = argparse.ArgumentParser(description="A worker process of native-host; started by the host only.")
    parser.add_argument("--fd", type=int, required=True, help="the socket to the host")
    fd = parser.parse_args(argv).fd
    os.set_inheritable(fd, False)
    exit_with_host(fd)
    sock = socket.socket(fileno=fd)
    asyncio.run(_serve(sock, openers or OPENERS))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
