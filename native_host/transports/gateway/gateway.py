"""What every router of the gateway is given: who asks, how a method of the host is called, and how its answer
goes out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response

from native_host.protocol import errors
from native_host.protocol.envelopes import decode_document, encode_value
from native_host.protocol.errors import RpcError
from native_host.protocol.identity import Identity
from native_host.protocol.messages import Params
from native_host.protocol.methods import METHODS
from native_host.transports.gateway import bodies
from native_host.transports.gateway.call import GatewayRequest
from native_host.transports.gateway.dialects import Dialect, refusal
from native_host.transports.gateway.streaming import StreamedAnswer, StreamForm
from native_host.transports.held import Held
from native_host.transports.host import Host

T = TypeVar("T")

Authenticate = Callable[[HTTPConnection], Awaitable[Identity]]
"""Who asks. Raises RpcError: unauthenticated, permission_denied, rate_limited and their like."""

_RETRY_AFTER_S = 1.0


KEYS = ("bearer", "header")
"""How a key can be shown, by the names that the OpenAPI document has for it."""


class GatewayRoute(APIRoute):
    """What is known of a route of ours: the API it belongs to, and what can be shown to be let in (nothing,
    where it is open to all).
    """

    speaks: Dialect
    shows: tuple[str, ...]


class Gateway:
    """`authenticate` decides who may come in; it is asked once a request, before the body is read."""

    def __init__(self, host: Host, authenticate: Authenticate) -> None:
        self.host = host
        self.authenticate = authenticate
        self._calls: set[GatewayRequest] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._closers: list[Callable[[], Awaitable[None]]] = []

    # Routes

    def router(self, dialect: Dialect, *, open_to_all: bool = False, **options: Any) -> APIRouter:  # noqa: ANN401
        """A router whose routes authenticate (but for `open_to_all`) and fail in this dialect."""
        if open_to_all:
            return APIRouter(route_class=self._route_class(dialect, None, ()), **options)
        return self.router_for(self.authenticate, KEYS, dialect, **options)

    def router_for(
        self,
        authenticate: Authenticate,
        shows: tuple[str, ...],
        dialect: Dialect,
        **options: Any,  # noqa: ANN401 - FastAPI's
    ) -> APIRouter:
        """A router for callers who prove themselves in a way of their own."""
        return APIRouter(route_class=self._route_class(dialect, authenticate, shows), **options)

    def _route_class(
        self, dialect: Dialect, authenticate: Authenticate | None, shown: tuple[str, ...]
    ) -> type[APIRoute]:
        gateway = self

        class Route(GatewayRoute):
            speaks = dialect
            shows = shown

            def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
                handle = super().get_route_handler()

                async def answer(request: Request) -> Response:
                    request.state.held = held = Held(gateway.host.budget, 0)
                    try:
                        if authenticate is not None:
                            request.state.identity = await authenticate(request)
                        return await handle(request)
                    except RpcError as error:
                        return refusal(error, dialect)
                    except ClientDisconnect:
                        return refusal(errors.cancelled("the client has gone"), dialect)
                    except Exception as error:  # noqa: BLE001 - whatever happens, the request is answered
                        incident = gateway.host.incident("request.failed", error, path=self.path)
                        return refusal(errors.internal_error(incident), dialect)
                    finally:
                        held.release()

                return answer

        return Route

    # Calls

    async def body(self, request: Request, type_: type[T]) -> T:
        """The request's JSON as a value of this type. Raises parse_error, invalid_params, input_too_long."""
        held: Held = request.state.held
        return decode_document(await bodies.read(self.host, request, held), type_)

    async def call(self, request: Request, method: str, params: Params, *, lenient: bool = False) -> Any:  # noqa: ANN401
        """The answer of the host's method. Raises RpcError; of `cancelled`, nobody will read.

        `lenient`: a model that nobody knows is the default one, where the settings allow that. Clients made
        for other programs send names of their own.
        """
        return await self.finish(self.begin(request, method, params, lenient=lenient))

    async def finish(self, call: GatewayRequest) -> Any:  # noqa: ANN401
        """The answer of a call that has begun. Raises RpcError."""
        try:
            return await call.result()
        finally:
            call.cut_short(errors.cancelled())

    def begin(
        self,
        request: Request,
        method: str,
        params: Params,
        *,
        lenient: bool = False,
        with_progress: bool = False,
    ) -> GatewayRequest:
        """Start a call of the host's method, as the peer that `request` has been found to come from. It is
        cancelled when the client leaves. Raises permission_denied, overloaded, shutting_down.
        """
        identity: Identity = request.state.identity
        held: Held = request.state.held
        return self._begin(
            identity, method, params, held, lambda: client_left(request), lenient, with_progress
        )

    async def call_for(self, identity: Identity, method: str, params: Params) -> Any:  # noqa: ANN401
        """The answer of the host's method to somebody whose HTTP request need not last until then. Raises
        RpcError.
        """
        held = Held(self.host.budget, 0)
        try:
            return await self.finish(self._begin(identity, method, params, held, None))
        finally:
            held.release()

    def _begin(
        self,
        identity: Identity,
        method: str,
        params: Params,
        held: Held,
        gone: Callable[[], Awaitable[None]] | None,
        lenient: bool = False,
        with_progress: bool = False,
    ) -> GatewayRequest:
        scope = METHODS[method].scope
        if scope is not None and not identity.may(scope):
            raise errors.permission_denied(scope)
        if self._closed:
            raise errors.shutting_down()
        if len(self._calls) >= self.host.settings.max_in_flight:
            raise errors.overloaded(len(self._calls), _RETRY_AFTER_S)
        lenient = lenient and self.host.settings.unknown_model == "default"

        async def handle(call: GatewayRequest) -> object:
            try:
                return await self.host.handler.handle(method, params, call)
            except RpcError as error:
                if not lenient or error.kind != "model_not_found" or getattr(params, "model", None) is None:
                    raise
            default = msgspec.structs.replace(params, model=None)
            return await self.host.handler.handle(method, default, call)

        call = GatewayRequest(self.host, identity, method, with_progress)
        self._calls.add(call)
        call.on_end = self._calls.discard
        task = call.start(handle, params, gone)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        held.keep()
        task.add_done_callback(lambda _: held.release())
        return call

    async def answer_streaming(self, call: GatewayRequest, form: StreamForm) -> Response:
        """What the call streams, in this form. Raises what the call fails with before it streams anything,
        so that it gets a status of its own.
        """
        try:
            await call.first()
        except BaseException:
            call.cut_short(errors.cancelled())
            raise
        return StreamedAnswer(self.host, call, form)

    async def close(self) -> None:
        """Answer everything that runs, and wait for what was running."""
        self._closed = True
        for call in list(self._calls):
            call.cut_short(errors.shutting_down())
        while self._tasks:
            await asyncio.wait(self._tasks)
        for close in self._closers:
            await close()

    def at_close(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed with the gateway."""
        self._closers.append(close)


async def client_left(request: Request) -> None:
    """Return when the client has left. Its body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def json_answer(value: object, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    """A value that msgspec knows, as JSON."""
    return Response(encode_value(value), status, headers, "application/json")
