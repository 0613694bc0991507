"""The extension as it is packed for Firefox, in a real Firefox, with the real host that it starts.

Firefox keeps its extensions' pages from whoever leads it, unless it was started with system access.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pack_extension
import pytest
from end_to_end.processes import survivors
from websockets.sync.client import ClientConnection

from .conftest import Surroundings, await_farewell, hosts
from .remote import ANSWER, ANSWERED, CONNECTED, Event, Remote, asking, started, until

ADDON = "native-host@tabagent.com"
UUID = "2e55e0a5-6c1c-4a38-9f0c-3c9b2d1f7a10"
"""Firefox makes one up for each profile, unless it finds one there."""

SLEEPY_MS = 3000
"""So long Firefox leaves a background that does nothing; otherwise it is half a minute."""

PREFERENCES = {
    "extensions.webextensions.uuids": json.dumps({ADDON: UUID}),
    "extensions.background.idle.timeout": SLEEPY_MS,
}
PAGE = f"moz-extension://{UUID}/index.html"
TROUBLE = "document.getElementById('trouble')"


EXTENSION = f"""
    const {{ ExtensionParent }} = ChromeUtils.importESModule("resource://gre/modules/ExtensionParent.sys.mjs");
    const extension = ExtensionParent.GlobalManager.getExtension("{ADDON}");
"""


class Firefox(Remote):
    """Led by WebDriver BiDi. `faults` are the errors of pages."""

    def __init__(self, socket: ClientConnection) -> None:
        super().__init__(socket)
        self.faults: list[Event] = []

    def next(self) -> Event:
        event = super().next()
        if event.get("method") == "log.entryAdded" and event["params"]["level"] == "error":
            self.faults.append(event)
        return event

    def send(self, method: str, **params: object) -> Any:  # noqa: ANN401
        """A command's result."""
        return self.ask(method, params)

    def evaluate(self, page: str, script: str) -> Any:  # noqa: ANN401
        """What a script in a page comes to."""
        told = self.send("script.evaluate", expression=script, target={"context": page}, awaitPromise=True)
        assert told["type"] == "success", told
        return told["result"].get("value")

    def opened(self) -> str:
        """A page of the extension."""
        page = self.send("browsingContext.create", type="tab")["context"]
        self.send("browsingContext.navigate", context=page, url=PAGE, wait="complete")
        return str(page)

    def in_its_own_window(self, script: str) -> Any:  # noqa: ANN401
        """What a script comes to that has the browser itself, with `extension` as it knows it."""
        (window,) = self.send("browsingContext.getTree", **{"moz:scope": "chrome"})["contexts"]
        return self.evaluate(window["context"], f"(async () => {{ {EXTENSION} {script} }})()")

    def close(self, page: str) -> None:
        self.send("browsingContext.close", context=page)


@pytest.fixture(scope="module")
def surroundings(models_file: Path) -> Iterator[Surroundings]:
    """Nothing is installed yet; manifests go where Firefox looks for them."""
    with tempfile.TemporaryDirectory(prefix="nh-", ignore_cleanup_errors=True) as home:
        found = Surroundings(Path(home), ADDON)
        found.manifests = found.home / ".mozilla" / "native-messaging-hosts"
        found.write_program(models_file)
        yield found


@pytest.fixture(scope="module")
def firefox(surroundings: Surroundings) -> Iterator[Firefox]:
    """One for all tests of this file, with the extension as a temporary add-on."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    assert program, "Firefox is needed (Debian: firefox-esr)"
    surroundings.profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
    (surroundings.profile / "user.js").write_text("".join(lines))
    addon = pack_extension.lay_out("firefox", surroundings.home / "addon")
    command = [program, "--headless", "--no-remote", "--profile", str(surroundings.profile)]
    command += ["--remote-debugging-port", "0", "--remote-allow-system-access"]
    with started(command, surroundings, "WebDriver BiDi listening on", "/session") as socket:
        found = Firefox(socket)
        found.send("session.new", capabilities={})
        told = found.send("webExtension.install", extensionData={"type": "path", "path": str(addon)})
        assert told["extension"] == ADDON
        found.send("session.subscribe", events=["log.entryAdded"])
        yield found
        assert found.faults == []
        found.send("browser.close")


@pytest.fixture(autouse=True)
def _as_it_should_be(surroundings: Surroundings, models_file: Path) -> None:
    await_farewell(surroundings)
    surroundings.write_program(models_file)
    install(surroundings)


def install(surroundings: Surroundings, addon: str = ADDON) -> None:
    surroundings.install("install", "--browser", "firefox", "--extension-id", addon)


def test_from_the_first_step_to_an_answer_and_nothing_is_left(
    firefox: Firefox, surroundings: Surroundings
) -> None:
    surroundings.uninstall()
    page = firefox.opened()
    firefox.evaluate(page, until(TROUBLE))
    said = firefox.evaluate(page, f"{TROUBLE}.textContent")
    assert "One step is missing" in said
    assert f"native-host install --browser firefox --extension-id {ADDON}" in said

    install(surroundings)
    firefox.evaluate(page, f"{TROUBLE}.querySelector(':scope > button').click()")
    firefox.evaluate(page, CONNECTED)
    assert firefox.evaluate(page, TROUBLE) is None
    firefox.evaluate(page, asking("What is this program?"))
    firefox.evaluate(page, ANSWERED)
    assert "native-host is a local AI host" in firefox.evaluate(page, ANSWER)

    (host,) = hosts(surroundings)
    family = [host, *host.children(recursive=True)]
    assert len(family) > 1  # the model's process
    firefox.close(page)
    assert survivors(family) == []


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("exit 3", "host_ended"),
        ("echo hello; cat > /dev/null", "host_not_understood"),
        (None, "host_not_started"),
    ],
    ids=["ends at once", "says something else", "gone"],
)
def test_a_host_that_is_no_good_is_explained(
    firefox: Firefox, surroundings: Surroundings, line: str | None, kind: str
) -> None:
    if line is None:
        surroundings.program.unlink()
    else:
        surroundings.write_script(line)
    page = firefox.opened()
    firefox.evaluate(page, until(TROUBLE))
    assert firefox.evaluate(page, f"{TROUBLE}.dataset.kind") == kind
    firefox.close(page)


def test_an_extension_that_the_host_was_not_told_of_is_kept_out(
    firefox: Firefox, surroundings: Surroundings
) -> None:
    install(surroundings, "other@example.com")
    page = firefox.opened()
    firefox.evaluate(page, until(TROUBLE))
    assert "was not told of this extension" in firefox.evaluate(page, f"{TROUBLE}.textContent")
    assert hosts(surroundings) == []
    firefox.close(page)


INTERRUPTED = """
    (async () => {
      const { Client, extensionPort } = await import("/client.js");
      const client = new Client(extensionPort(), { client: { name: "test", version: "1" } });
      const params = { model: "slow", messages: [{ role: "user", content: "Go on" }], max_tokens: 100 };
      const stream = client.stream("chat", params, { repeat: true });
      let text = "";
      for await (const piece of stream) {
        text = piece.anew ? piece.text : text + piece.text;
        if (text.length > 20) document.title = "now";
      }
      const said = (await stream.result).message.content;
      client.close();
      return text === said && text.length > 20;
    })()
"""


def test_an_answer_is_completed_though_its_host_was_killed(
    firefox: Firefox, surroundings: Surroundings
) -> None:
    page = firefox.opened()
    firefox.evaluate(page, CONNECTED)
    firefox.evaluate(page, f"globalThis.whole = {INTERRUPTED}; true")
    firefox.evaluate(page, until("document.title === 'now'"))
    (host,) = hosts(surroundings)
    host.kill()
    assert firefox.evaluate(page, "globalThis.whole") is True
    firefox.close(page)


LONG = """
    (async () => {
      const { Client, extensionPort } = await import("/client.js");
      const client = new Client(extensionPort(), { client: { name: "test", version: "1" } });
      const { tokens } = await client.call("tokenize", { text: "What is a frame? " });
      const many = Array.from({ length: 100_000 }, () => tokens).flat();
      const { text } = await client.call("detokenize", { tokens: many });
      client.close();
      return text.length > 1_048_576 && text === text.slice(0, text.length / 100_000).repeat(100_000);
    })()
"""


def test_a_long_answer_comes_in_one_piece(firefox: Firefox) -> None:
    page = firefox.opened()
    assert firefox.evaluate(page, LONG) is True
    firefox.close(page)


ASLEEP = """
    while (extension.backgroundState !== "stopped") await new Promise((done) => setTimeout(done, 20));
    return true;
"""


def test_a_background_that_sleeps_wakes_with_the_next_page(firefox: Firefox) -> None:
    for _ in range(2):
        page = firefox.opened()
        firefox.evaluate(page, CONNECTED)
        firefox.close(page)
        assert firefox.in_its_own_window(ASLEEP) is True


CHOSEN_IN_THE_MENU = """
    await extension.wakeupBackground();
    const selectionText = "A frame is <b>a</b> message.";
    const clicked = { menuItemId: "ask-about-selection", modifiers: [], editable: false, selectionText };
    extension.emit("webext-menu-menuitem-click", clicked, gBrowser.selectedTab);
"""
"""What Firefox tells the extension when its entry in the menu is chosen."""

QUOTED = "> A frame is <b>a</b> message.\n\n"
SIDEBAR = "chrome.extension.getViews({ type: 'sidebar' })[0]?.document.getElementById('question')?.value"


def test_a_selected_text_is_quoted_in_the_sidebar(firefox: Firefox) -> None:
    page = firefox.opened()
    firefox.evaluate(page, CONNECTED)
    firefox.in_its_own_window(CHOSEN_IN_THE_MENU)
    firefox.evaluate(page, until(f"{SIDEBAR} === {json.dumps(QUOTED)}"))
    firefox.in_its_own_window("SidebarController.hide()")
    firefox.close(page)
