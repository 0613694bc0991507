"""The page in a real Chromium against a real host: asking, streaming, stopping, models, conversations."""

from __future__ import annotations

import json

from gateway.spawning import Served, served
from playwright.sync_api import BrowserContext, Page, WebSocketRoute, expect

from .conftest import PATIENCE_MS, answered, ask, force, open_page, route_requests, sent_by, watch

expect.set_options(timeout=PATIENCE_MS)

ANSWER = "native-host is a local AI host"
TOKENS = 100
"""Of an answer that is interrupted: enough to be caught in the middle of it."""


def choose(page: Page, model: str) -> None:
    page.locator("#picker-button").click()
    page.locator(".option", has_text=model).first.click()


def wait_for_text(page: Page) -> None:
    """Until the answer under way has begun."""
    page.locator(".answer[aria-busy] .text .block").first.wait_for()


def wait_for_another(page: Page, sockets: list[WebSocketRoute]) -> None:
    """Until the page has connected a second time; the test's own limit ends a wait in vain."""
    while len(sockets) < 2:
        page.evaluate("new Promise(requestAnimationFrame)")


def test_a_question_is_answered(page: Page) -> None:
    ask(page, "What is this program?")
    answered(page)
    expect(page.locator(".question-text")).to_have_text("What is this program?")
    expect(page.locator(".answer .text")).to_contain_text(ANSWER)
    expect(page.locator(".figures")).to_contain_text("tokens/s")
    expect(page.locator("#announcements")).to_contain_text(ANSWER)
    expect(page.locator("#announcements")).to_contain_text("End of the answer.")
    expect(page.get_by_label("Your question")).to_be_focused()
    expect(page).to_have_title("What is this program? · native-host")


def test_a_suggestion_is_a_question(page: Page) -> None:
    page.get_by_role("button", name="Which formats can it run?").click()
    answered(page)
    expect(page.locator(".answer .text")).to_contain_text("GGUF")
    expect(page.locator("#welcome")).to_be_hidden()


def test_what_was_said_before_goes_along(page: Page) -> None:
    sent = sent_by(page)
    page.reload()
    ask(page, "What is a frame?")
    answered(page)
    ask(page, "Thanks")
    answered(page, 2)
    assert [message["role"] for message in sent[1]["messages"]] == ["user", "assistant", "user"]
    assert sent[1]["stream"] is True


def test_an_answer_streams_and_is_stopped(page: Page, host: Served) -> None:
    choose(page, "slow")
    ask(page, "Go on for ever")
    wait_for_text(page)
    page.get_by_role("button", name="Stop").click()
    answered(page)
    expect(page.locator(".figures")).to_contain_text("Stopped.")
    expect(page.locator(".answer .text")).not_to_be_empty()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.get_by_label("Your question")).to_be_focused()


def test_escape_stops_too_and_the_answer_can_be_asked_for_again(page: Page) -> None:
    choose(page, "slow")
    ask(page, "Go on for ever")
    wait_for_text(page)
    page.keyboard.press("Escape")
    answered(page)
    choose(page, "tabagent-demo")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".figures")).to_contain_text("tabagent-demo")
    expect(page.locator(".answer")).to_have_count(1)
    expect(page.locator(".question")).to_have_count(1)


def test_another_model_is_loaded_and_answers(page: Page) -> None:
    choose(page, "slow")
    expect(page.locator("#announcements")).to_contain_text("slow is ready.")
    expect(page.locator("#picker-name")).to_have_text("slow")
    page.locator("#picker-button").click()
    expect(page.locator(".option", has_text="slow")).to_contain_text("loaded")
    page.keyboard.press("Escape")
    expect(page.locator("#picker-list")).to_be_hidden()
    page.locator("#open-settings").click()
    page.get_by_label("Longest answer, in tokens").fill("5")
    page.get_by_role("button", name="Done").click()
    ask(page, "Hello")
    answered(page)
    expect(page.locator(".figures")).to_contain_text("Cut at the longest answer’s length. slow · 5 tokens")


def test_a_model_that_is_absent_says_how_to_get_it(page: Page) -> None:
    choose(page, "gone")
    expect(page.locator("#loading")).to_contain_text("gone is not on this machine yet Put the file at")
    choose(page, "distant")
    expect(page.locator("#loading")).to_contain_text("distant is not on this machine yet")
    ask(page, "Hello")
    answered(page)
    failure = page.locator(".failure")
    expect(failure).to_contain_text("distant is not on this machine yet")
    expect(failure.locator("code")).to_have_text(
        "native-host models pull hf:example/model-GGUF --name distant"
    )
    expect(failure.get_by_role("button", name="Copy the command")).to_be_visible()
    choose(page, "tabagent-demo")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".figures")).to_contain_text("tokens/s")
    expect(page.locator(".failure")).to_have_count(0)


def test_reloading_keeps_the_conversation(page: Page) -> None:
    ask(page, "What is this program?")
    answered(page)
    address = page.url
    page.reload()
    expect(page.locator(".answer .text")).to_contain_text(ANSWER)
    expect(page.locator(".figures")).to_contain_text("tokens/s")
    assert page.url == address
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("#welcome")).to_be_visible()
    page.go_back()
    expect(page.locator(".answer .text")).to_contain_text(ANSWER)


def test_reloading_keeps_what_there_is_of_an_answer(page: Page) -> None:
    choose(page, "slow")
    ask(page, "Go on for ever")
    wait_for_text(page)
    page.reload()
    expect(page.locator(".figures")).to_contain_text("Cut: the page was closed.")


def test_conversations_are_listed_renamed_and_deleted(page: Page) -> None:
    for question in ("What is a frame?", "What is a worker?"):
        page.get_by_role("button", name="New conversation").click()
        ask(page, question)
        answered(page)
    names = page.locator(".session")
    expect(names).to_have_text(["What is a worker?", "What is a frame?"])
    names.nth(1).hover()
    page.get_by_role("button", name="Rename “What is a frame?”").click()
    page.get_by_label("Name of the conversation").fill("Frames <b>&")
    page.keyboard.press("Enter")
    expect(names).to_have_text(["What is a worker?", "Frames <b>&"])
    names.nth(1).click()
    expect(page.locator(".question-text")).to_have_text("What is a frame?")
    expect(page).to_have_title("Frames <b>& · native-host")

    page.get_by_role("button", name="Delete “Frames <b>&”").click()
    page.get_by_role("button", name="Keep").click()
    expect(names).to_have_count(2)
    page.get_by_role("button", name="Delete “Frames <b>&”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(names).to_have_text(["What is a worker?"])
    expect(page.locator("#welcome")).to_be_visible()
    page.reload()
    expect(names).to_have_text(["What is a worker?"])


def test_a_conversation_that_is_deleted_while_it_is_answered_stays_so(page: Page) -> None:
    choose(page, "slow")
    ask(page, "Go on for ever")
    wait_for_text(page)
    page.locator(".session").hover()
    page.get_by_role("button", name="Delete “Go on for ever”").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.get_by_role("button", name="Send")).to_be_visible()  # the answer has been stopped
    page.reload()
    expect(page.locator("#welcome")).to_be_visible()
    expect(page.locator(".session")).to_have_count(0)


def test_an_answer_goes_on_after_the_connection_broke_off(context: BrowserContext, host: Served) -> None:
    page = context.new_page()
    faults = watch(page)
    sockets = route_requests(page, lambda params: {**params, "max_tokens": TOKENS})
    open_page(page, host)
    choose(page, "slow")
    ask(page, "Go on for a while")
    wait_for_text(page)
    sockets[0].close()
    answered(page)
    expect(page.locator(".figures")).to_contain_text(f"slow · {TOKENS} tokens")
    wait_for_another(page, sockets)
    expect(page.locator("#connection")).to_be_empty()
    assert faults == []


def test_an_answer_that_the_host_did_not_keep_is_asked_for_again(
    context: BrowserContext, host: Served
) -> None:
    page = context.new_page()
    faults = watch(page)
    sockets = route_requests(page, lambda params: {**params, "resumable": False, "max_tokens": TOKENS})
    open_page(page, host)
    choose(page, "slow")
    ask(page, "Go on for a while")
    wait_for_text(page)
    sockets[0].close()
    answered(page)
    expect(page.locator(".figures")).to_contain_text(f"slow · {TOKENS} tokens")
    expect(page.locator(".failure")).to_have_count(0)
    wait_for_another(page, sockets)
    assert faults == []


def test_a_host_that_is_gone_is_told_and_found_again(context: BrowserContext, host: Served) -> None:
    page = context.new_page()
    page.route_web_socket("**/ws", lambda socket: socket.close())
    page.goto(host.url)
    expect(page.locator("#connection")).to_contain_text("The host cannot be reached")
    expect(page.locator("#connection code")).to_contain_text("native-host serve --http")
    page.route_web_socket("**/ws", lambda socket: socket.connect_to_server())
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#picker-name")).to_have_text("tabagent-demo")
    expect(page.locator("#connection")).to_be_empty()


def test_a_key_is_asked_for_and_kept(context: BrowserContext) -> None:
    with served(environment={"NATIVE_HOST_API_KEY": "the-key"}, open_loopback=False) as locked:
        page = context.new_page()
        faults = watch(page)
        page.goto(locked.url)
        field = page.get_by_label("API key", exact=True)
        expect(field).to_be_focused()
        field.fill("wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#key-problem")).to_have_text("That key was not accepted.")
        page.get_by_role("button", name="Not now").click()
        expect(page.locator("#connection")).to_contain_text("This host wants an API key.")
        page.get_by_role("button", name="Enter one").click()
        field.fill("the-key")
        page.get_by_role("button", name="Connect").click()
        expect(page.locator("#picker-name")).to_have_text("tabagent-demo")
        ask(page, "What is this program?")
        answered(page)
        expect(page.locator(".answer .text")).to_contain_text(ANSWER)
        page.reload()
        expect(page.locator("#picker-name")).to_have_text("tabagent-demo")
        page.locator("#open-settings").click()
        page.get_by_role("button", name="Forget the API key").click()
        expect(field).to_be_focused()
        assert faults == []


def test_code_can_be_copied(context: BrowserContext, host: Served) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    faults = watch(page)
    force(page, "Like this:\n\n```python\nprint('<b>')\n```\n")
    open_page(page, host)
    ask(page, "Show me")
    answered(page)
    expect(page.locator(".code-bar span").first).to_have_text("python")
    page.get_by_role("button", name="Copy this code").click()
    expect(page.locator("#announcements")).to_contain_text("Copied.")  # the button says it for two seconds
    assert page.evaluate("navigator.clipboard.readText()") == "print('<b>')\n"
    assert faults == []


def test_a_system_prompt_and_a_temperature_are_sent(page: Page) -> None:
    sent = sent_by(page)
    page.reload()
    page.locator("#open-settings").click()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.5")
    page.keyboard.press("Escape")
    ask(page, "Hello")
    answered(page)
    assert sent[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert sent[0]["temperature"] == 0.5


def test_thoughts_are_folded_away(context: BrowserContext, host: Served) -> None:
    """The built-in model has none: they are put into its stream on the way."""
    page = context.new_page()
    faults = watch(page)

    def routed(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def think(message: str | bytes) -> None:
            call = json.loads(message)
            if call.get("method") == "$/stream" and call["params"]["seq"] == 0:
                call["params"]["reasoning"] = "Let me see: <b>frames</b>."
            socket.send(json.dumps(call))

        server.on_message(think)

    page.route_web_socket("**/ws", routed)
    open_page(page, host)
    ask(page, "What is a frame?")
    answered(page)
    thoughts = page.locator(".thoughts")
    expect(thoughts.locator("summary")).to_have_text("Thoughts")
    expect(thoughts.locator(".thoughts-text")).to_be_hidden()
    thoughts.locator("summary").click()
    expect(thoughts.locator(".thoughts-text")).to_have_text("Let me see: <b>frames</b>.")
    page.reload()
    expect(thoughts.locator("summary")).to_have_text("Thoughts")
    assert faults == []
