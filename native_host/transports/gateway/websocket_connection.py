"""One WebSocket as it is carried: uvicorn's, which counts what a peer makes the host hold before a message is
whole, and gives up strangers that do not say who they are.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from native_host.telemetry.logs import Log

if TYPE_CHECKING:
    from websockets.frames import Frame
    from websockets.http11 import Request

    from native_host.protocol.frames import ByteBudget

HANDSHAKE_S = 30.0
"""How long a stranger may take to authenticate."""
STRANGER_BYTES = 64 * 1024
"""How long a stranger's message may be: enough for `initialize` and `authenticate`."""
MOST_STRANGERS = 64
"""How many sockets may wait for their peers to authenticate."""
MOST_OF_AN_ADDRESS = 8
"""How many of them may be of one address."""
UNREAD_BYTES = 64 * 1024
"""Where so much waits to be read, pings are not answered: whoever sends them does not read the answers."""

_FRAGMENT_BYTES = 64
"""About what a fragment of a message takes beside its bytes."""
_REFUSED = 1008
_NO_ROOM = 1013

_log = Log("transports")


class WebSocketConnection(WebSocketsSansIOProtocol):
    """`budget` and `strangers` (with their addresses) are shared by all of a server. A peer is a stranger
    until `let_in`; the route finds this object in the scope's state, as `carrier`.
    """

    budget: ByteBudget
    strangers: dict[WebSocketConnection, str]

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **options)
        self._longest = self.conn.max_message_size
        self.conn.max_message_size = STRANGER_BYTES
        self._fragments = 0
        self._held = 0
        self._deadline: asyncio.TimerHandle | None = None

    # For the route

    def wait_for_identity(self, address: str) -> bool:
        """Give the peer some time to authenticate, if not too many others have it already."""
        of_address = sum(other == address for other in self.strangers.values())
        if len(self.strangers) >= MOST_STRANGERS or of_address >= MOST_OF_AN_ADDRESS:
            return False
        self.strangers[self] = address
        self._deadline = self.loop.call_later(HANDSHAKE_S, self._fail, _REFUSED, "authenticate sooner")
        return True

    def let_in(self) -> None:
        """It is known who the peer is."""
        self.conn.max_message_size = self._longest
        self._leave_strangers()

    # What uvicorn and the socket tell

    def handle_connect(self, event: Request) -> None:
        """The head of the request is there; the application runs from the loop's next turn on."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            self.scope["state"]["carrier"] = self

    def data_received(self, data: bytes) -> None:
        """The next bytes."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        now = len(self.conn.reader.buffer) + self._fragments
        if now > self._held and not self.budget.take(now - self._held):
            self._fail(_NO_ROOM, "too much input is waiting")
            return
        self.budget.give(max(0, self._held - now))
        self._held = now

    def handle_text(self, event: Frame) -> None:
        """A message, or its first fragment."""
        self._fragments = _FRAGMENT_BYTES + len(event.data)
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """A message, or its first fragment."""
        self._fragments = _FRAGMENT_BYTES + len(event.data)
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """A further fragment."""
        self._fragments += _FRAGMENT_BYTES + len(event.data)
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """A message is whole: from here on whoever reads it counts it."""
        self._fragments = 0
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        """The library has made the answer; nothing makes it wait."""
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.conn.data_to_send()
        else:
            super().handle_ping()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._leave_strangers()
        self.frames = []
        self.budget.give(self._held)
        self._held = 0

    def _leave_strangers(self) -> None:
        self.strangers.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _fail(self, code: int, reason: str) -> None:
        """Close, since the peer does not do its part."""
        if self.close_sent or self.transport.is_closing():
            return
        _log.warning("websocket.refused", reason=reason)
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.transport.close()
