"""A browser that is led over one WebSocket: Chromium by its DevTools, Firefox by WebDriver BiDi. Both number
their commands alike, and tell events in between.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from websockets.sync.client import ClientConnection, connect

from .conftest import Surroundings

PATIENCE_S = 180.0
Event = dict[str, Any]


class Remote:
    """Commands and their results."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0

    def ask(self, method: str, params: dict[str, object], **more: object) -> Any:  # noqa: ANN401
        """A command's result; what comes before it is an event."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params, **more}))
        while (message := self.next()).get("id") != self._count:
            pass
        assert "result" in message, message
        return message["result"]

    def next(self) -> Event:
        """What it says next."""
        event: Event = json.loads(self._socket.recv(timeout=PATIENCE_S))
        return event


@contextlib.contextmanager
def started(
    command: list[str], surroundings: Surroundings, announcement: str, path: str = ""
) -> Iterator[ClientConnection]:
    """A browser, and the WebSocket whose address it says on stderr. Whoever leads it closes it."""
    process = subprocess.Popen(
        command,
        env={name: str(value) for name, value in surroundings.environment.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        mute = threading.Timer(PATIENCE_S, process.kill)
        mute.start()
        address = next((line.split()[-1] for line in process.stderr if line.startswith(announcement)), None)
        mute.cancel()
        assert address, "the browser has ended, or said nothing"
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or it would fill, and block
        with connect(
            address + path, max_size=None, open_timeout=PATIENCE_S, ping_interval=None, proxy=None
        ) as socket:
            yield socket
        process.wait(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def until(condition: str) -> str:
    """A script that waits for something in a page."""
    return f"new Promise((done) => setInterval(() => {{ if ({condition}) done(true) }}, 20))"


CONNECTED = until("document.getElementById('picker-name')?.textContent === 'tabagent-demo'")
ANSWERED = until("document.querySelector('.answer:not([aria-busy])')")
ANSWER = "document.querySelector('.answer .text').textContent"


def asking(question: str) -> str:
    """A script that asks as a person would."""
    return f"""
        document.getElementById("question").value = {json.dumps(question)};
        document.getElementById("composer").requestSubmit();
    """
