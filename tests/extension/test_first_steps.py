"""From an extension without a host to the first answer, and what is said on the way."""

from __future__ import annotations

import json
import shlex
import struct
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from end_to_end.processes import survivors
from playwright.sync_api import BrowserContext, Page, expect
from web.conftest import PATIENCE_MS, answered, ask

from .conftest import EXTENSION_ID, Surroundings, await_farewell, connected, hosts, watched

expect.set_options(timeout=PATIENCE_MS)

ANSWER = "native-host is a local AI host"


@pytest.fixture(autouse=True)
def _no_host(surroundings: Surroundings, models_file: Path) -> None:
    """As on a machine where nothing was installed."""
    await_farewell(surroundings)
    surroundings.uninstall()
    surroundings.write_program(models_file)


def no_grave_faults(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [each for each in found if each["impact"] in ("serious", "critical")] == []


def test_the_page_says_what_is_missing_and_goes_on_by_itself_once_it_is_there(
    browser: BrowserContext, surroundings: Surroundings
) -> None:
    browser.grant_permissions(["clipboard-read", "clipboard-write"])
    with watched(browser) as page:
        trouble = page.locator("#trouble")
        expect(trouble).to_contain_text("One step is missing")
        command = f"native-host install --browser chromium --extension-id {EXTENSION_ID}"
        expect(trouble.locator("code").nth(1)).to_have_text(command)
        expect(page.locator("#announcements")).to_contain_text("One step is missing")
        no_grave_faults(page)
        trouble.get_by_role("button", name="Copy the command").nth(1).click()
        expect(page.locator("#announcements")).to_contain_text("Copied.")
        copied = page.evaluate("navigator.clipboard.readText()")

        surroundings.install(*shlex.split(copied)[1:])
        connected(page)
        expect(trouble).to_have_count(0)
        ask(page, "What is this program?")
        answered(page)
        expect(page.locator(".answer .text")).to_contain_text(ANSWER)
        expect(page.locator(".figures")).to_contain_text("tokens/s")
        no_grave_faults(page)


def test_an_extension_that_the_host_was_not_told_of_is_kept_out(
    browser: BrowserContext, surroundings: Surroundings
) -> None:
    surroundings.install("install", "--browser", "chromium", "--extension-id", "a" * 32)
    with watched(browser) as page:
        expect(page.locator("#trouble")).to_contain_text("does not know this extension")
        expect(page.locator("#trouble code")).to_contain_text(EXTENSION_ID)
        no_grave_faults(page)
        assert hosts(surroundings) == []
        surroundings.install()
        page.get_by_role("button", name="Try again").click()
        connected(page)


REFUSAL = {"code": -32004, "message": "update the host", "data": {"kind": "unsupported_protocol"}}


def framed(message: object) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack("=I", len(body)) + body


@pytest.mark.parametrize(
    ("line", "title", "command"),
    [
        ("exit 3", "ended as soon as it was started", "native-host doctor"),
        ("echo hello; cat > /dev/null", "does not understand what it started", "native-host doctor"),
        ('cat "$HOME/answer" -', "do not fit together", "pip install --upgrade"),
        (None, "does not find it where it was", "pip install native-host"),
    ],
    ids=["ends at once", "says something else", "another version", "gone"],
)
def test_a_host_that_is_no_good_is_explained(
    browser: BrowserContext, surroundings: Surroundings, line: str | None, title: str, command: str
) -> None:
    (surroundings.home / "answer").write_bytes(framed({"jsonrpc": "2.0", "id": 1, "error": REFUSAL}))
    surroundings.install()
    right = surroundings.program.read_text()
    if line is None:
        surroundings.program.unlink()
    else:
        surroundings.write_script(line)
    with watched(browser) as page:
        expect(page.locator("#trouble")).to_contain_text(title)
        expect(page.locator("#trouble code").first).to_contain_text(command)
        no_grave_faults(page)
        surroundings.write_script(*right.splitlines()[1:])
        page.get_by_role("button", name="Try again").click()
        connected(page)
        expect(page.locator("#trouble")).to_have_count(0)


def test_nothing_is_left_when_the_page_is_closed(panel: Page, surroundings: Surroundings) -> None:
    ask(panel, "What is this program?")
    answered(panel)
    (host,) = hosts(surroundings)
    family = [host, *host.children(recursive=True)]
    assert len(family) > 1  # the model's process
    panel.goto("about:blank")
    assert survivors(family) == []
