"""One peer's connection, whatever carries its bytes: frames in, calls dispatched, answers and notifications
out.

It is told of bytes by `receive`, of their end by `end`, and of back pressure by `pause` and `resume`.
Requests run side by side as tasks. A cancelled request is answered at once, by the connection; its task is
never waited for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec import Raw

from native_host import __version__
from native_host.guard.handshake import Handshake
from native_host.protocol import chunks, envelopes, errors, messages
from native_host.protocol.envelopes import NULL_ID, BadCall, Batch, Call
from native_host.protocol.errors import RpcError
from native_host.protocol.frames import LENGTH_PREFIXED, Cut, Frame, FrameTooLarge, Framing
from native_host.protocol.identity import Identity
from native_host.protocol.limits import MAX_BATCH, MAX_FRAME_BYTES, PROTOCOL_VERSION
from native_host.protocol.methods import HOST_NOTIFICATIONS, METHODS
from native_host.transports.held import Held
from native_host.transports.host import Host
from native_host.transports.outlet import Outlet, Pipe
from native_host.transports.reply import Answer, BatchReply, Reply
from native_host.transports.request import Request

Admit = Callable[[Identity], Awaitable[object]]
"""Counts a request of this peer. Raises rate_limited."""

_RETRY_AFTER_S = 1.0
_ENVELOPE_BYTES = 64
"""More than the envelope of a result has beside the id and the result."""


class Connection:
    """`origin` and `max_frame_out` are what a relay or a browser's arguments say about the peer, and stand
    above what the peer says itself. `on_end` is called once, when nothing more will be read or written.
    `admit` counts each request; the limits of whoever asks unless given."""

    def __init__(
        self,
        host: Host,
        pipe: Pipe,
        *,
        name: str,
        on_end: Callable[[Connection], None],
        framing: Framing = LENGTH_PREFIXED,
        origin: str | None = None,
        max_frame_out: int = MAX_FRAME_BYTES,
        handshake: Handshake | None = None,
        admit: Admit | None = None,
    ) -> None:
        self.name = name
        self.ended = False
        self._host = host
        self._on_end = on_end
        self._origin = origin
        self._max_frame_out = max_frame_out
        self._handshake = handshake or Handshake(host.policy)
        self._admit = admit or host.limits.admit
        self._outlet = Outlet(
            pipe, framing, host.settings.out_queue, host.settings.stall_timeout_s, self._stalled
        )
        self._frames = framing.decoder(host.settings.max_frame_in, host.budget)
        self._in_flight: dict[str | int | float | None, Request] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._shutting_down = False
        host.connections += 1
        host.log.info("connection.opened", connection=name, origin=origin)

    # What the pipe tells

    def receive(self, data: bytes) -> None:
        """The next bytes from the peer, or its next message where the transport keeps them apart."""
        for cut in self._frames.feed(data):
            if self.ended:
                return
            self._take(cut)

    def pause(self) -> None:
        """The pipe is full."""
        self._outlet.pause()

    def resume(self) -> None:
        """The pipe has room again."""
        self._outlet.resume()

    def end(self, *, flush: bool = True) -> None:
        """The peer has gone, or must go: cancel what runs for it and close. `flush`: write what is queued
        first."""
        if self.ended:
            return
        self.ended = True
        self._host.connections -= 1
        for request in list(self._in_flight.values()):
            request.abandoned = True
            self._forget(request, "cancelled")
        for task in self._tasks:
            task.cancel()
        self._frames.close()
        (self._outlet.close if flush else self._outlet.abort)()
        self._host.log.info("connection.ended", connection=self.name)
        self._on_end(self)

    async def finished(self) -> None:
        """Wait until no task of this connection runs any more. Native code can make one slow to go."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # Frames to calls

    def _take(self, cut: Cut) -> None:
        if isinstance(cut, Frame):
            held = Held(self._host.budget, len(cut.payload))
            self._take_payload(cut, held)
            held.release()
            return
        if isinstance(cut, FrameTooLarge):
            error = errors.frame_too_large(cut.length, cut.limit)
        else:
            error = errors.overloaded(self._host.requests, _RETRY_AFTER_S)
        self._send(Answer(NULL_ID, cut.number, error=error))

    def _take_payload(self, frame: Frame, held: Held) -> None:
        found = envelopes.decode(frame.payload)
        if not isinstance(found, Batch):
            self._take_call(found, frame.number, _Straight(self._send), held)
            return
        expecting = sum(isinstance(member, BadCall) or member.id is not None for member in found.members)
        reply = BatchReply(expecting, self._send_batch)
        for member in found.members:
            self._take_call(member, frame.number, reply, held)

    def _take_call(self, call: Call | BadCall, frame: int, reply: Reply, held: Held) -> None:
        if isinstance(call, BadCall):
            reply.give(Answer(call.id, frame, error=call.error))
        elif call.id is None:
            self._notified(call)
        else:
            try:
                self._dispatch(call, call.id, frame, reply, held)
            except RpcError as error:
                reply.give(Answer(call.id, frame, error=error))
            except Exception as error:  # noqa: BLE001 - it would end the connection, and others' requests with it
                incident = self._host.incident("call.failed", error, connection=self.name, method=call.method)
                reply.give(Answer(call.id, frame, error=errors.internal_error(incident)))

    def _notified(self, call: Call) -> None:
        """Notifications are never answered. One that names a request's method is ignored."""
        if call.method == "$/cancelRequest":
            try:
                wanted = envelopes.decode_params(call.params, messages.CancelParams).id
            except RpcError:
                return
            request = self._in_flight.get(wanted)
            if request is not None:
                self._cut_short(request, "cancelled")
        elif call.method == "exit":
            self.end()

    def _dispatch(self, call: Call, id_: Raw, frame: int, reply: Reply, held: Held) -> None:
        if call.key in self._in_flight:
            raise errors.duplicate_id()
        self._handshake.check(call.method)
        method = METHODS.get(call.method)
        if method is None:
            raise errors.method_not_found(call.method)
        answer_now = _LIFE_CYCLE.get(call.method)
        if answer_now is not None:
            found = answer_now(self, envelopes.decode_params(call.params, method.params))
            reply.give(Answer(id_, frame, result=envelopes.encode_value(found)))
            return
        identity = self._handshake.check_scope(method.scope)
        if self._shutting_down:
            raise errors.shutting_down()
        if len(self._in_flight) >= self._host.settings.max_in_flight:
            raise errors.overloaded(len(self._in_flight), _RETRY_AFTER_S)
        params = envelopes.decode_params(call.params, method.params)
        self._start(Request(self._host, self.name, identity, call, frame, reply, self._outlet), params, held)

    # Requests

    def _start(self, request: Request, params: messages.Params, held: Held) -> None:
        request.max_frame = self._max_frame_out
        self._in_flight[request.key] = request
        held.keep()
        request.task = self._spawn(self._run(request, params))
        request.task.add_done_callback(lambda _: held.release())
        request.begin(
            getattr(params, "timeout_s", None),
            lambda: self._cut_short(request, "timeout"),
            streaming=bool(getattr(params, "stream", False)),  # that of streams.resume is a name
        )

    async def _run(self, request: Request, params: messages.Params) -> None:
        try:
            result = envelopes.encode_value(await self._handle(request, params))
            answer = Answer(request.id, request.frame, result=result)
            if len(result) + len(bytes(request.id)) + _ENVELOPE_BYTES > self._max_frame_out:
                answer = await self._send_chunks(request, result)
            await request.room()
            self._answer(request, answer)
        except RpcError as error:
            self._fail(request, error)
        except asyncio.CancelledError:
            self._fail(request, errors.cancelled())
        except Exception as error:  # noqa: BLE001 - whatever a handler does, its request is answered
            fields = {"request_id": request.request_id, "connection": self.name, "method": request.method}
            self._fail(request, errors.internal_error(self._host.incident("request.failed", error, **fields)))

    async def _handle(self, request: Request, params: messages.Params) -> object:
        await self._admit(request.identity)
        if request.method == "rpc.discover":
            from native_host.protocol import openrpc

            return openrpc.document()
        return await self._host.handler.handle(request.method, params, request)

    async def _send_chunks(self, request: Request, result: bytes) -> Answer:
        """Send a result that does not fit a frame; return the answer that stands for it."""
        cut = chunks.cut(request.id, result, self._max_frame_out)
        for payload in cut.payloads():
            await request.room()
            self._outlet.send(payload)
        return Answer(request.id, request.frame, result=cut.told())

    def _fail(self, request: Request, error: RpcError) -> None:
        if error.kind in ("cancelled", "timeout"):
            error = RpcError(error.kind, error.message, request.partial.told())
        self._answer(request, Answer(request.id, request.frame, error=error))

    def _answer(self, request: Request, answer: Answer) -> None:
        if not request.answered:
            self._forget(request, "ok" if answer.error is None else answer.error.kind)
            request.reply.give(answer)

    def _cut_short(self, request: Request, kind: str) -> None:
        """Answer now, whatever the request is doing, and let its task find out."""
        if request.answered:
            return
        error = errors.timeout() if kind == "timeout" else errors.cancelled()
        batched, request.reply = request.reply, _Straight(self._send)
        self._fail(request, error)
        batched.leave()
        if request.task is not None:
            request.task.cancel()

    def _stalled(self) -> None:
        """The peer reads nothing: give up what waits for it. It may be asleep, and come back."""
        self._host.log.warning("connection.stalled", connection=self.name)
        for request in [one for one in self._in_flight.values() if one.waiting]:
            request.abandoned = True
            self._cut_short(request, "cancelled")

    def _forget(self, request: Request, outcome: str) -> None:
        self._in_flight.pop(request.key, None)
        request.end(outcome)

    # Answers

    def _send(self, answer: Answer) -> None:
        self._outlet.send(self._envelope(answer))

    def _envelope(self, answer: Answer) -> bytes:
        try:
            return answer.envelope(self._max_frame_out)
        except (ValueError, TypeError) as error:  # data that is no JSON: a fault of ours, and still an answer
            incident = self._host.incident("answer.failed", error, connection=self.name)
            failed = Answer(answer.id, answer.frame, error=errors.internal_error(incident))
            return failed.envelope(self._max_frame_out)

    def _send_batch(self, answers: list[Answer]) -> None:
        """The members' answers in one frame, or one by one if they do not fit."""
        if not answers:
            return
        members = [self._envelope(answer) for answer in answers]
        together = sum(map(len, members)) + len(members) + 1
        if together <= self._max_frame_out:
            self._outlet.send(envelopes.encode_batch(members))
        else:
            for payload in members:
                self._outlet.send(payload)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Methods of the life cycle, answered without a task

    def _initialize(self, params: messages.InitializeParams) -> messages.InitializeResult:
        client = params.client
        auth = self._handshake.initialize(params.protocol_version, self._origin or client.origin)
        self._max_frame_out = min(self._max_frame_out, client.max_frame_in or MAX_FRAME_BYTES)
        self._host.log.info(
            "connection.initialized", connection=self.name, client=client.name, version=client.version
        )
        return messages.InitializeResult(
            protocol_version=PROTOCOL_VERSION,
            server=messages.ServerInfo(name="native-host", version=__version__, pid=os.getpid()),
            capabilities=messages.Capabilities(
                methods=self._methods(), notifications=list(HOST_NOTIFICATIONS)
            ),
            limits=messages.Limits(
                max_frame_in=self._host.settings.max_frame_in,
                max_frame_out=self._max_frame_out,
                max_batch=MAX_BATCH,
            ),
            auth=auth,
        )

    def _methods(self) -> list[str]:
        """Those of use to this peer: a stream ends with a host that ends with its connection."""
        kept = self._host.outlives_connections
        return [name for name in METHODS if kept or name != "streams.resume"]

    def _authenticate(self, params: messages.AuthenticateParams) -> messages.AuthenticateResult:
        try:
            return self._handshake.authenticate(params)
        except RpcError as error:
            self._host.log.warning("authentication.failed", connection=self.name, reason=error.message)
            raise
        finally:
            if self._handshake.exhausted:  # after the answer has been queued
                asyncio.get_running_loop().call_soon(self.end)

    def _ping(self, _: messages.Params) -> messages.PingResult:
        return self._host.ping()

    def _health(self, _: messages.Params) -> messages.HealthResult:
        return self._host.health(name_files=self._handshake.trusted)

    def _shutdown(self, _: messages.Params) -> None:
        self._shutting_down = True


_LIFE_CYCLE: dict[str, Callable[[Connection, Any], object]] = {
    "initialize": Connection._initialize,
    "authenticate": Connection._authenticate,
    "ping": Connection._ping,
    "health": Connection._health,
    "shutdown": Connection._shutdown,
}


class _Straight:
    """Answers that are sent as soon as they are there."""

    def __init__(self, send: Callable[[Answer], None]) -> None:
        self.give = send

    def leave(self) -> None:
        """Nobody waits."""
