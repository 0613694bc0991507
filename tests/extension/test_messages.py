"""Messages of every size through the browser, by the extension's own client in one of its pages."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import ConsoleMessage, Page

from native_host.protocol.limits import BROWSER_MAX_FRAME_BYTES

from .conftest import Surroundings, hosts

CLIENT = """
  const { Client, extensionPort } = await import("/client.js");
  const client = new Client(extensionPort(), { client: { name: "test", version: "1" } });
  try {
"""


def run(page: Page, script: str, argument: object = None) -> Any:  # noqa: ANN401 - whatever the script answers
    """A script with a `client` of its own."""
    return page.evaluate(
        f"async (argument) => {{ {CLIENT} {script} }} finally {{ client.close() }} }}", argument
    )


def test_a_long_answer_comes_in_one_piece(panel: Page) -> None:
    assert (
        run(panel, "await client.call('ping', {}); return client.host.limits.max_frame_out")
        == BROWSER_MAX_FRAME_BYTES
    )
    length, same = run(
        panel,
        """
        const { tokens } = await client.call("tokenize", { text: "What is a frame? " });
        const many = Array.from({ length: argument }, () => tokens).flat();
        const { text } = await client.call("detokenize", { tokens: many });
        return [text.length, text === text.slice(0, text.length / argument).repeat(argument)];
        """,
        320_000,
    )
    assert length > 5_000_000
    assert same


def test_a_long_request_arrives(panel: Page) -> None:
    """30 MB: the host reads all of it, and says how long it is."""
    failure = run(
        panel,
        """
        const messages = [{ role: "user", content: "a word ".repeat(argument) }];
        return await client.call("chat", { messages }).then(() => null, ({ kind, data }) => ({ kind, data }));
        """,
        30_000_000 // 7,
    )
    assert failure["kind"] == "input_too_long"


def test_what_the_browser_does_not_carry_is_an_error(panel: Page) -> None:
    kind = run(
        panel,
        """
        const messages = [{ role: "user", content: "x".repeat(argument) }];
        const kind = await client.call("chat", { messages }).catch(({ kind }) => kind);
        await client.call("ping", {});
        return kind;
        """,
        65 << 20,
    )
    assert kind == "message_too_large"


LOST = """
    let [text, begun, killed] = ["", 0, false];
    const params = { model: "slow", messages: [{ role: "user", content: "Go on" }], max_tokens: 60 };
    const stream = client.stream("chat", params, { repeat: true });
    for await (const piece of stream) {
      if (piece.anew) [text, begun] = ["", begun + 1];
      text += piece.text;
      if (text.length > 20 && !killed) {
        killed = true;
        console.log("kill");
      }
    }
    return { text, said: (await stream.result).message.content, begun };
"""


def test_what_is_shown_of_an_answer_that_was_lost_is_what_the_host_says_in_the_end(
    panel: Page, surroundings: Surroundings
) -> None:
    killed: list[int] = []

    def kill(said: ConsoleMessage) -> None:
        if said.text == "kill":
            for host in hosts(surroundings):
                killed.append(host.pid)
                host.kill()

    panel.on("console", kill)
    seen = run(panel, LOST)
    assert len(killed) == 1
    assert seen["text"] == seen["said"]
    assert seen["begun"] <= 1
