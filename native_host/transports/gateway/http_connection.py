"""One HTTP connection: uvicorn's, which gives up clients that take nothing, and those that never finish a
request, and refuses heads that are long, or that two programs could read in two ways.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from native_host.telemetry.logs import Log
from native_host.transports.stall import StallWatch

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

REQUEST_S = 30.0
"""How long the head of a request may take, and each further part of its body."""
HEAD_BYTES = 64 * 1024
"""How long the head of a request may be, or anything else that is no body."""
LINGER_S = 30.0
"""How long a connection that is to be closed may take to read what was sent."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 37\r\nconnection: close\r\n\r\nThe head of a request is at most 64K."
)

_log = Log("transports")


class HttpConnection(HttpToolsProtocol):
    """`stall_timeout_s` is how long a client may take nothing while there is something for it."""

    stall_timeout_s = 30.0

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **options)
        self._stall = StallWatch(self.stall_timeout_s, self._untaken, self._stalled)
        self._slow: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None
        self._in_head = False
        self._head_bytes = 0
        self._idle_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected, and has so long for its first request."""
        super().connection_made(transport)
        self._expect_more()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone. uvicorn tells the newest request only, which may wait behind the one that runs."""
        self._stall.stop()
        self._expect_nothing()
        self.pipeline.clear()
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """The next bytes. Line ends between requests begin none: the connection is as idle as before.

        What nothing was made of yet is kept by the parser, which has no limit: an address, a header, or one
        behind a body.
        """
        self._idle_bytes += len(data)
        super().data_received(data)
        if self._idle_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("")
        if self._idle():
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def pause_writing(self) -> None:
        """The client does not read fast enough."""
        super().pause_writing()
        self._stall.start()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stall.stop()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._expect_more()
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of its address. Raises ValueError where the head is too long."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header. Those behind a body are not of the request: nobody in front of the host looks at them.
        Raises ValueError where the head is too long.
        """
        self._count(name, value)
        if self._in_head:
            super().on_header(name, value)

    def _count(self, *parts: bytes) -> None:
        self._head_bytes += sum(map(len, parts))
        if self._head_bytes > HEAD_BYTES:
            raise ValueError("too much that is no body")

    def on_headers_complete(self) -> None:
        """Its head is there. One that waits behind another must not hide that the client leaves: reading goes
        on until a second one waits. Raises ValueError for a head that is not plain.
        """
        self._in_head = False
        self._idle_bytes = 0
        _check_head(self.url, self.headers, self.parser.get_http_version())
        super().on_headers_complete()
        if len(self.pipeline) == 1:
            self.flow.resume_reading()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._expect_more()
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """It is there."""
        self._expect_nothing()
        self._idle_bytes = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, or is too long."""
        if max(self._head_bytes, self._idle_bytes) <= HEAD_BYTES:
            super().send_400_response(msg)
            return
        self.transport.write(_TOO_LONG)
        self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing more was asked for a while."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(LINGER_S, self.transport.abort)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _idle(self) -> bool:
        """Whether nothing is asked and nothing begun; not so once the connection is a WebSocket's."""
        answered = self.cycle is None or self.cycle.response_complete
        ours = self.transport.get_protocol() is self and not self.transport.is_closing()
        return answered and self._slow is None and ours

    def _expect_more(self) -> None:
        self._expect_nothing()
        self._slow = self.loop.call_later(REQUEST_S, self._too_slow)

    def _expect_nothing(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _too_slow(self) -> None:
        if self.flow.read_paused:  # we do not read: the client is not to blame
            self._expect_more()
        else:
            self.transport.abort()

    def _untaken(self) -> int:
        """While more than a little waits nothing is added, so that this only changes when the client
        reads."""
        return self.transport.get_write_buffer_size()

    def _stalled(self) -> None:
        _log.warning("connection.stalled", connection="http")
        self.transport.abort()


def _check_head(url: bytes, headers: list[tuple[bytes, bytes]], version: str) -> None:
    """Raise ValueError where a program in front of the host could find another body or another host in it."""
    coded = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if coded and (coded != [b"chunked"] or version != "1.1"):
        raise ValueError("another Transfer-Encoding than chunked")
    if not url.startswith((b"/", b"*")):
        hosts = [value.strip().lower() for name, value in headers if name == b"host"]
        if hosts != [urlsplit(url).netloc.lower()]:
            raise ValueError("an address that is not the Host's")
