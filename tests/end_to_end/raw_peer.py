"""A peer on a bare socket, which reads only when it is told to, and sees what arrives in its order."""

from __future__ import annotations

import socket
from pathlib import Path
from types import TracebackType

from native_host.client.session import Answer, Event, Session

_SILENCE_S = 60


class RawPeer:
    """A connection that has introduced itself. Use it in a `with` block."""

    def __init__(self, path: Path) -> None:
        self._session = Session()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SILENCE_S)
        self._socket.connect(str(path))
        client = {"name": "raw", "version": "1"}
        (hello,) = self.ask(("initialize", {"protocol_version": "1", "client": client}))
        assert isinstance(self.read_until({hello})[-1], Answer)

    def ask(self, *requests: tuple[str, dict[str, object]]) -> list[int]:
        """Send requests all at once; answers their ids."""
        framed = [self._session.request(method, params) for method, params in requests]
        self._socket.sendall(b"".join(frame for _, frame in framed))
        return [request for request, _ in framed]

    def read_until(self, waiting: set[int]) -> list[Event]:
        """Everything, in order, until these requests are answered. A gap in a stream is a Failure."""
        events: list[Event] = []
        while waiting:
            data = self._socket.recv(65536)
            assert data, "the host hung up"
            arrived = self._session.receive(data)
            waiting = waiting - {event.id for event in arrived if isinstance(event, Answer)}
            events += arrived
        return events

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
