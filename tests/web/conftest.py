"""A real host with real models, and the page in a real Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end.conftest import make_model
from gateway.spawning import Served, served
from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, sync_playwright

PATIENCE_MS = 180_000


@pytest.fixture(scope="session")
def page_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `models.json`: the built-in model by default, `slow` that can be caught, `gone` and `distant`."""
    folder = tmp_path_factory.mktemp("page-models")
    make_model(folder / "slow.gguf", "135m")
    models = {
        "slow": {"type": "gguf", "path": "slow.gguf", "threads": 1},
        "gone": {"type": "gguf", "path": "gone.gguf"},
        "distant": {"type": "gguf", "path": "hf:example/model-GGUF"},
    }
    file = folder / "models.json"
    file.write_text(json.dumps({"default": "tabagent-demo", "models": models}))
    return file


@pytest.fixture(scope="module")
def host(page_models: Path) -> Iterator[Served]:
    """One for all tests of a file."""
    with served(page_models) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One for all tests of a file."""
    program = shutil.which("chromium")
    assert program, "Chromium is needed (Debian: chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
            ],
            timeout=PATIENCE_MS,
        )
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    """As a browser that knows nothing of the page yet."""
    found = chromium.new_context(viewport={"width": 1200, "height": 800})
    found.set_default_timeout(PATIENCE_MS)
    yield found
    found.close()


@pytest.fixture
def page(context: BrowserContext, host: Served) -> Iterator[Page]:
    """The page, connected. Nothing may go wrong in it unseen."""
    found = context.new_page()
    faults = watch(found)
    open_page(found, host)
    yield found
    assert faults == []


def watch(page: Page) -> list[str]:
    """What goes wrong in a page from now on: errors of scripts, and what its policy kept from happening."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    return faults


def open_page(page: Page, host: Served) -> None:
    """Go there, and wait until it knows the models."""
    page.goto(host.url)
    page.locator("#picker-name").get_by_text("tabagent-demo", exact=True).wait_for()


def sent_by(page: Page) -> list[dict[str, Any]]:
    """The params of the page's `chat` requests from its next connection on."""
    sent: list[dict[str, Any]] = []

    def note(message: str | bytes) -> None:
        call = json.loads(message)
        if call["method"] == "chat":
            sent.append(call["params"])

    page.on("websocket", lambda socket: socket.on("framesent", note))
    return sent


def force(page: Page, text: str) -> None:
    """Have the model's next answers say exactly this: the page's requests are held to a grammar on their way
    to the host. Takes effect with the next connection.
    """
    grammar = {"type": "grammar", "grammar": f"start: {json.dumps(text, ensure_ascii=False)}"}
    route_requests(page, lambda params: {**params, "response_format": grammar, "temperature": 0})


def route_requests(page: Page, change: Callable[[dict[str, Any]], dict[str, Any]]) -> list[WebSocketRoute]:
    """Change the params of the page's `chat` requests on their way. The connections, as they come."""
    sockets: list[WebSocketRoute] = []

    def routed(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            call = json.loads(message)
            if call.get("method") == "chat":
                call["params"] = change(call["params"])
            server.send(json.dumps(call))

        socket.on_message(pass_on)

    page.route_web_socket("**/ws", routed)
    return sockets


def ask(page: Page, question: str) -> None:
    """Send a question."""
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def answered(page: Page, count: int = 1) -> None:
    """Wait until so many answers are over."""
    page.locator(".answer:not([aria-busy])").nth(count - 1).wait_for()
