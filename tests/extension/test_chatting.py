"""Chatting through the extension: streams, models, several pages, and hosts that die in the middle."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, expect
from web.conftest import PATIENCE_MS, answered, ask

from .conftest import PAGE, Surroundings, connected, hosts, stop_background, watched

expect.set_options(timeout=PATIENCE_MS)

TOKENS = 100


def choose(page: Page, model: str) -> None:
    page.locator("#picker-button").click()
    page.locator(".option", has_text=model).first.click()


def wait_for_text(page: Page) -> None:
    """Until the answer under way has begun."""
    page.locator(".answer[aria-busy] .text .block").first.wait_for()


def limit(page: Page, tokens: int) -> None:
    page.locator("#open-sidebar").click()
    page.locator("#open-settings").click()
    page.get_by_label("Longest answer, in tokens").fill(str(tokens))
    page.get_by_role("button", name="Done").click()
    page.locator("#close-sidebar").click()


def ask_for_a_slow_answer(page: Page) -> None:
    """Until an answer of `TOKENS` tokens has begun."""
    limit(page, TOKENS)
    choose(page, "slow")
    ask(page, "Go on for a while")
    wait_for_text(page)


def ends_well(page: Page) -> None:
    """The answer comes to its end. That its text is one and whole is tested where it is not Markdown."""
    answered(page)
    expect(page.locator(".figures")).to_contain_text(f"slow · {TOKENS} tokens")
    expect(page.locator(".failure")).to_have_count(0)
    expect(page.locator("#connection")).to_be_empty()


def test_an_answer_is_stopped(panel: Page) -> None:
    choose(panel, "slow")
    ask(panel, "Go on for ever")
    wait_for_text(panel)
    panel.get_by_role("button", name="Stop").click()
    answered(panel)
    expect(panel.locator(".figures")).to_contain_text("Stopped.")


def test_another_model_is_loaded_and_answers(panel: Page) -> None:
    limit(panel, 5)
    choose(panel, "slow")
    expect(panel.locator("#announcements")).to_contain_text("slow is ready.")
    ask(panel, "Hello")
    answered(panel)
    expect(panel.locator(".figures")).to_contain_text("slow · 5 tokens")


def test_pages_share_one_host_and_keep_their_answers_apart(
    panel: Page, browser: BrowserContext, surroundings: Surroundings
) -> None:
    with watched(browser) as other:
        connected(other)
        assert len(hosts(surroundings)) == 1
        choose(panel, "slow")
        ask(panel, "Go on for ever")
        wait_for_text(panel)
        ask(other, "What is this program?")
        answered(other)
        expect(other.locator(".answer .text")).to_contain_text("native-host is a local AI host")
        panel.keyboard.press("Escape")
        answered(panel)
        expect(panel.locator(".answer .text")).not_to_contain_text("native-host is a local AI host")
        expect(panel.locator(".figures")).to_contain_text("Stopped.")


def test_a_conversation_is_there_in_the_tab_too(panel: Page, browser: BrowserContext) -> None:
    ask(panel, "What is this program?")
    answered(panel)
    with watched(browser) as tab:
        tab.goto(f"{PAGE}#{panel.url.partition('#')[2]}")
        expect(tab.locator(".answer .text")).to_contain_text("native-host is a local AI host")


def test_an_answer_is_completed_though_its_host_was_killed(panel: Page, surroundings: Surroundings) -> None:
    ask_for_a_slow_answer(panel)
    (host,) = hosts(surroundings)
    host.kill()
    ends_well(panel)


def test_an_answer_is_completed_though_the_background_was_stopped(
    panel: Page, browser: BrowserContext
) -> None:
    ask_for_a_slow_answer(panel)
    stop_background(browser.new_cdp_session(panel))
    ends_well(panel)


SELECTED = {"menuItemId": "ask-about-selection", "selectionText": "A frame is <b>a</b> message."}
IN_PANEL = "chrome.extension.getViews().find((view) => view !== window)"
"""The window of the real side panel, as another page of the extension reaches it."""


def test_a_selected_text_is_quoted_in_the_panel_of_its_window(panel: Page, browser: BrowserContext) -> None:
    window = panel.evaluate("chrome.windows.getCurrent().then(({ id }) => id)")
    background = [*browser.service_workers, None][0] or browser.wait_for_event("serviceworker")

    def select() -> None:
        """What the browser tells the extension when its entry in the menu is chosen."""
        background.evaluate(
            "([clicked, tab]) => chrome.contextMenus.onClicked.dispatch(clicked, tab)",
            [SELECTED, {"windowId": window}],
        )

    select()  # the panel is not open yet
    open_panel(panel)
    quoted = "> A frame is <b>a</b> message.\n\n"
    said(panel, quoted)
    panel.evaluate(f"{IN_PANEL}.document.getElementById('question').value += 'What does that mean?'")
    select()
    said(panel, f"{quoted}{quoted}What does that mean?")
    expect(panel.get_by_label("Your question")).to_have_value("")  # the page in the tab is no panel
    assert panel.evaluate("chrome.storage.session.get()") == {}
    panel.evaluate(f"{IN_PANEL}.close()")  # or it would hold the host


def open_panel(page: Page) -> None:
    """The real one, at the browser's side. It opens by a click only."""
    page.evaluate(
        """() => {
          const button = document.createElement("button");
          button.textContent = "Open the panel";
          button.style = "position: fixed; z-index: 99; inset: 0 auto auto 0";
          button.onclick = async () => {
            const { id } = await chrome.windows.getCurrent();
            await chrome.sidePanel.open({ windowId: id });
            button.remove();
          };
          document.body.append(button);
        }"""
    )
    page.get_by_role("button", name="Open the panel").click()
    expect(page.get_by_role("button", name="Open the panel")).to_have_count(0)


def said(page: Page, text: str) -> None:
    """Wait until the panel's composer has this text."""
    page.evaluate(
        f"""(text) => new Promise((resolve) => {{
          const look = () => {{
            const question = {IN_PANEL}?.document.getElementById("question");
            question?.value === text ? resolve() : setTimeout(look, 20);
          }};
          look();
        }})""",
        text,
    )
