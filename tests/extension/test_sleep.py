"""A background that browsers put to sleep. Playwright attaches itself to backgrounds, which keeps them awake,
so this browser is led by hand, and what is attached is the page alone.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from .conftest import (
    CHROMIUM_ARGUMENTS,
    EXTENSION,
    EXTENSION_ID,
    PAGE,
    Surroundings,
    await_farewell,
    chromium,
    loading,
)

PATIENCE_S = 120.0
BACKGROUND = f"chrome-extension://{EXTENSION_ID}/background.js"
Event = dict[str, Any]


class Devtools:
    """A browser's DevTools, over one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._count = 0
        self.backgrounds: set[str] = set()

    def send(self, method: str, session: str | None = None, **params: object) -> Any:  # noqa: ANN401
        """A command's answer."""
        self._count += 1
        asked = {"id": self._count, "method": method, "params": params}
        self._socket.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while (message := self.next()).get("id") != self._count:
            pass
        assert "error" not in message, message
        return message["result"]

    def next(self) -> Event:
        """What it says next. `backgrounds` has the targets that run the extension's."""
        event: Event = json.loads(self._socket.recv(timeout=PATIENCE_S))
        params = event.get("params", {})
        if event.get("method") == "Target.targetCreated" and params["targetInfo"]["url"] == BACKGROUND:
            self.backgrounds.add(params["targetInfo"]["targetId"])
        elif event.get("method") == "Target.targetDestroyed":
            self.backgrounds.discard(params["targetId"])
        return event


@pytest.fixture
def devtools(surroundings: Surroundings) -> Iterator[Devtools]:
    command = [chromium(), *CHROMIUM_ARGUMENTS, *loading(EXTENSION), "--remote-debugging-port=0"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={surroundings.profile}", "about:blank"],
        env={name: str(value) for name, value in surroundings.environment.items()},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        address = next(
            line.split()[-1] for line in process.stderr if line.startswith("DevTools listening on")
        )
        threading.Thread(target=process.stderr.read, daemon=True).start()  # or it would fill, and block
        with connect(
            address, max_size=None, open_timeout=PATIENCE_S, ping_interval=None, proxy=None
        ) as socket:
            found = Devtools(socket)
            yield found
            found.send("Browser.close")
        process.wait(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()


def opened(devtools: Devtools) -> tuple[str, str]:
    """A page of the extension that knows its models: the target, and a session with it."""
    target = devtools.send("Target.createTarget", url="about:blank")["targetId"]
    session = devtools.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    devtools.send("Page.navigate", session, url=PAGE)
    evaluate(
        devtools, session, until("document.getElementById('picker-name')?.textContent === 'tabagent-demo'")
    )
    return target, session


def until(condition: str) -> str:
    return f"new Promise((done) => setInterval(() => {{ if ({condition}) done(true) }}, 20))"


def evaluate(devtools: Devtools, session: str, script: str) -> Any:  # noqa: ANN401
    told = devtools.send(
        "Runtime.evaluate", session, expression=script, awaitPromise=True, returnByValue=True
    )
    assert "exceptionDetails" not in told, told
    return told["result"].get("value")


def ask(devtools: Devtools, session: str, question: str) -> str:
    """The page's answer."""
    evaluate(
        devtools,
        session,
        f"""
        document.getElementById("question").value = {json.dumps(question)};
        document.getElementById("composer").requestSubmit();
        """,
    )
    evaluate(devtools, session, until("document.querySelector('.answer:not([aria-busy])')"))
    return str(evaluate(devtools, session, "document.querySelector('.answer .text').textContent"))


def test_a_background_that_sleeps_wakes_with_the_next_page(
    devtools: Devtools, surroundings: Surroundings
) -> None:
    surroundings.install()
    devtools.send("Target.setDiscoverTargets", discover=True)
    target, _ = opened(devtools)
    while not devtools.backgrounds:
        devtools.next()
    devtools.send("Target.closeTarget", targetId=target)
    while devtools.backgrounds:  # for half a minute
        devtools.next()
    await_farewell(surroundings)
    _, session = opened(devtools)
    assert "native-host is a local AI host" in ask(devtools, session, "What is this program?")
