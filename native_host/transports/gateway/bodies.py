"""Reads a request's body: no longer than it may be, and counted against what all peers together may make the
host hold.
"""

from __future__ import annotations

from starlette.requests import Request

from native_host.protocol import errors
from native_host.transports.held import Held
from native_host.transports.host import Host

_RETRY_AFTER_S = 1.0
_MOST_NAMED = 32


async def read(host: Host, request: Request, *held: Held) -> bytearray:
    """All of it, counted by each of `held`; as `state.body` has it where it had to be read to know who asks.
    Raises unsupported, input_too_long and overloaded; ClientDisconnect where the client left.
    """
    read_before: bytearray | None = getattr(request.state, "body", None)
    if read_before is not None:
        return read_before
    coded = request.headers.get("content-encoding", "").strip().lower()
    if coded not in ("", "identity"):
        raise errors.unsupported(f"bodies in {coded[:_MOST_NAMED]}: send them as they are")
    limit = host.settings.max_frame_in
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit:
        raise errors.input_too_long(limit, bytes_=int(announced))
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > limit:
            raise errors.input_too_long(limit, bytes_=len(body) + len(part))
        if not all(each.grow(len(part)) for each in held):
            raise errors.overloaded(host.requests, _RETRY_AFTER_S)
        body += part
    return body
