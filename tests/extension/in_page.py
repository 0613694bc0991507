"""Scripts in a page of the extension, with its own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import ConsoleMessage, Page

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


STREAM = """
    let [text, begun, broken] = ["", 0, false];
    const names = new Set();
    const params = { model: "slow", messages: [{ role: "user", content: "Go on" }], max_tokens: 100 };
    const stream = client.stream("chat", params, { repeat: true });
    for await (const piece of stream) {
      if (piece.anew) [text, begun] = ["", begun + 1];
      text += piece.text;
      names.add(stream.resumeId);
      if (text.length > 20 && !broken) {
        broken = true;
        console.log("now");
      }
    }
    return { text, said: (await stream.result).message.content, begun, streams: names.size };
"""


def streamed(page: Page, interrupt: Callable[[], None]) -> Any:  # noqa: ANN401
    """An answer that is interrupted once it has begun: its text as shown, and as said in the end."""
    interrupted: list[bool] = []

    def heard(said: ConsoleMessage) -> None:
        if said.text == "now":
            interrupt()
            interrupted.append(True)

    page.on("console", heard)
    seen = run(page, STREAM)
    page.remove_listener("console", heard)
    assert interrupted
    assert seen["text"] == seen["said"]
    return seen
