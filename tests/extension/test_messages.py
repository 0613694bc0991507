"""Messages of every size through the browser, by the extension's own client in one of its pages."""

from __future__ import annotations

from end_to_end.processes import survivors
from playwright.sync_api import Page

from native_host.protocol.limits import BROWSER_MAX_FRAME_BYTES

from .conftest import Surroundings, hosts
from .in_page import run, streamed


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


def test_what_is_shown_of_an_answer_whose_host_was_stopped_is_what_the_next_one_says(
    panel: Page, surroundings: Surroundings
) -> None:
    (host,) = hosts(surroundings)
    seen = streamed(panel, host.terminate)
    assert seen["begun"] <= 1
    assert survivors([host]) == []
