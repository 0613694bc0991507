"""An answer that is sent while it comes: each write holds whole events, since some clients read no other
way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from native_host.protocol import errors
from native_host.protocol.envelopes import encode_value
from native_host.protocol.errors import RpcError
from native_host.transports.gateway.call import GatewayRequest, Piece, Progress
from native_host.transports.host import Host

SSE = "text/event-stream"

DONE = b"data: [DONE]\n\n"


def sse(value: object) -> bytes:
    """One server-sent event with this value as JSON."""
    return b"data: %b\n\n" % encode_value(value)


def events(*values: object, then: bytes = b"") -> str:
    """Several, as they stand in an example."""
    return (b"".join(map(sse, values)) + then).decode()


class StreamForm(Protocol):
    """What the parts of a streamed answer look like, as bytes."""

    media_type: str

    def piece(self, piece: Piece | Progress) -> bytes:
        """What stands for a piece; may be empty."""

    def end(self, result: Any) -> bytes:  # noqa: ANN401 - the result of whichever method it is
        """What stands for the result of the method."""

    def failed(self, error: RpcError) -> bytes | None:
        """What stands for an error after pieces have been sent; None where nothing can: the answer is then
        cut off, so that nobody takes it for whole.
        """


class TextStream:
    """The text and nothing else."""

    media_type = "text/plain; charset=utf-8"

    def piece(self, piece: Piece | Progress) -> bytes:
        """The text."""
        return piece.text.encode() if isinstance(piece, Piece) else b""

    def end(self, result: Any) -> bytes:  # noqa: ANN401 - the result of whichever method it is
        """Nothing."""
        return b""

    def failed(self, error: RpcError) -> None:
        """It has no words for that."""


class StreamedAnswer(Response):
    """Sends what a call streams. When the client does not read, the call waits; when it leaves, the call
    ends.
    """

    def __init__(self, host: Host, call: GatewayRequest, form: StreamForm) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no", "x-request-id": call.request_id}
        super().__init__(None, 200, headers, form.media_type)
        del self.headers["content-length"]
        self._host = host
        self._call = call
        self._form = form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send everything."""
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for data in self._parts():
                if data is None:
                    return
                if data:
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._call.cut_short(errors.cancelled())

    async def _parts(self) -> AsyncIterator[bytes | None]:
        try:
            async for batch in self._call.batches():
                yield b"".join([self._form.piece(piece) for piece in batch])
            yield await self._end()
        except Exception as error:  # noqa: BLE001 - it has begun: the client must hear that it ends badly
            incident = self._host.incident("answer.failed", error, request_id=self._call.request_id)
            yield self._form.failed(errors.internal_error(incident))

    async def _end(self) -> bytes | None:
        try:
            result = await self._call.result()
        except RpcError as error:
            return self._form.failed(error)
        return self._form.end(result)
