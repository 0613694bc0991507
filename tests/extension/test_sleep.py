"""A background that browsers put to sleep. Playwright attaches itself to backgrounds, which keeps them awake,
so this browser is led by hand, and what is attached is the page alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

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
from .remote import ANSWER, ANSWERED, CONNECTED, Event, Remote, asking, started

BACKGROUND = f"chrome-extension://{EXTENSION_ID}/background.js"


class Devtools(Remote):
    """Chromium's. `backgrounds` has the targets that run the extension's."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.backgrounds: set[str] = set()

    def send(self, method: str, session: str | None = None, **params: object) -> Any:  # noqa: ANN401
        """A command, to the browser or to a page."""
        return self.ask(method, params, **({"sessionId": session} if session else {}))

    def evaluate(self, session: str, script: str) -> Any:  # noqa: ANN401
        """What a script in a page comes to."""
        told = self.send(
            "Runtime.evaluate", session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def next(self) -> Event:
        event = super().next()
        params = event.get("params", {})
        if event.get("method") == "Target.targetCreated" and params["targetInfo"]["url"] == BACKGROUND:
            self.backgrounds.add(params["targetInfo"]["targetId"])
        elif event.get("method") == "Target.targetDestroyed":
            self.backgrounds.discard(params["targetId"])
        return event


@pytest.fixture
def devtools(surroundings: Surroundings) -> Iterator[Devtools]:
    command = [chromium(), *CHROMIUM_ARGUMENTS, *loading(EXTENSION), "--remote-debugging-port=0"]
    command += [f"--user-data-dir={surroundings.profile}", "about:blank"]
    with started(command, surroundings, "DevTools listening on") as socket:
        found = Devtools(socket)
        yield found
        found.send("Browser.close")


def opened(devtools: Devtools) -> tuple[str, str]:
    """A page of the extension that knows its models: the target, and a session with it."""
    target = devtools.send("Target.createTarget", url="about:blank")["targetId"]
    session = devtools.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    devtools.send("Page.navigate", session, url=PAGE)
    devtools.evaluate(session, CONNECTED)
    return target, session


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
    devtools.evaluate(session, asking("What is this program?"))
    devtools.evaluate(session, ANSWERED)
    assert "native-host is a local AI host" in devtools.evaluate(session, ANSWER)
