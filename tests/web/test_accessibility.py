"""The page for people who use no mouse, see little, or listen."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from gateway.spawning import Served
from playwright.sync_api import Browser, BrowserContext, Page, expect

from .conftest import PATIENCE_MS, answered, ask, force, open_page, watch

expect.set_options(timeout=PATIENCE_MS)

RICH = (
    "# A title\n\nWords with `code`, **weight** and [a link](https://example.org).\n\n"
    "- one\n- two\n\n```python\nprint(1)\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\n"
)


def check(page: Page, where: str) -> None:
    """axe finds nothing serious or critical."""
    found = Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert grave == [], where


@pytest.mark.parametrize("theme", ["light", "dark", "contrast"])
def test_axe_finds_nothing_serious(context: BrowserContext, host: Served, theme: str) -> None:
    page = context.new_page()
    faults = watch(page)
    context.add_init_script(
        f"localStorage.getItem('native-host.settings') ??"
        f" localStorage.setItem('native-host.settings', JSON.stringify({{theme: '{theme}'}}))"
    )
    force(page, RICH)
    open_page(page, host)
    expect(page.locator("html")).to_have_attribute("data-theme", theme)
    check(page, "before the first question")
    ask(page, "Show me everything")
    answered(page)
    check(page, "an answer")
    page.locator("#picker-button").click()
    page.locator(".option").first.wait_for()
    check(page, "models")
    page.locator(".option", has_text="gone").click()
    expect(page.locator("#loading")).to_contain_text("not on this machine")
    ask(page, "And now?")
    answered(page, 2)
    check(page, "an error")
    page.locator("#open-settings").click()
    page.locator(".keys summary").click()
    check(page, "settings")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 390, "height": 780})
    check(page, "narrow")
    page.locator("#open-sidebar").click()
    expect(page.locator("#close-sidebar")).to_be_focused()
    check(page, "narrow, with the list")
    assert faults == []


def test_everything_goes_by_keyboard(page: Page) -> None:
    keys = page.keyboard
    expect(page.get_by_label("Your question")).to_be_focused()
    keys.type("What is a frame?")
    keys.press("Shift+Enter")
    keys.type("Tell me.")
    keys.press("Enter")
    answered(page)
    expect(page.locator(".question-text")).to_have_text("What is a frame?\nTell me.")

    tab_to(page, "#picker-button", backwards=True)
    keys.press("Enter")
    expect(page.locator(".option", has_text="tabagent-demo").first).to_be_focused()
    keys.press("Home")
    keys.press("End")
    keys.press("Escape")
    expect(page.locator("#picker-button")).to_be_focused()
    keys.press("ArrowDown")
    keys.press("Home")
    for _ in range(page.locator(".option").count()):
        if page.evaluate("document.activeElement.textContent").startswith("slow"):
            break
        keys.press("ArrowDown")
    keys.press("Enter")
    expect(page.locator("#picker-name")).to_have_text("slow")
    expect(page.locator("#picker-button")).to_be_focused()

    keys.press("/")
    expect(page.get_by_label("Your question")).to_be_focused()
    keys.type("Go on for ever")
    keys.press("Enter")
    page.locator(".answer[aria-busy] .text .block").first.wait_for()
    keys.press("Escape")
    answered(page, 2)
    expect(page.locator(".figures").nth(1)).to_contain_text("Stopped.")

    tab_to(page, ".session", backwards=True)
    keys.press("Tab")  # to the buttons that appear beside it
    expect(page.get_by_role("button", name="Rename")).to_be_focused()
    keys.press("Enter")
    keys.type("Frames")
    keys.press("Enter")
    expect(page.locator(".session")).to_have_text("Frames")
    expect(page.locator(".session")).to_be_focused()
    tab_to(page, '[aria-label^="Delete"]')
    keys.press("Enter")
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator(".session")).to_have_count(0)

    keys.press("Alt+n")
    expect(page.get_by_label("Your question")).to_be_focused()
    tab_to(page, "#open-settings", backwards=True)
    keys.press("Enter")
    keys.press("ArrowRight")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    keys.press("Escape")
    expect(page.locator("#open-settings")).to_be_focused()


def tab_to(page: Page, selector: str, backwards: bool = False) -> None:
    """Press Tab until this has the focus."""
    for _ in range(60):
        page.keyboard.press("Shift+Tab" if backwards else "Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never comes to {selector}")


def test_the_list_on_a_narrow_screen_takes_and_gives_back_the_focus(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    expect(page.locator("#sidebar")).to_be_hidden()
    opener = page.get_by_role("button", name="Conversations")
    opener.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Close the list")).to_be_focused()
    expect(page.locator("#main")).to_have_attribute("inert", "")
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    expect(page.locator("#sidebar")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(13, 13, 13)")])
def test_without_a_choice_the_operating_systems_theme_holds(
    chromium: Browser, host: Served, scheme: str, paper: str
) -> None:
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.goto(host.url)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    assert page.evaluate("getComputedStyle(document.querySelector('.suggestions')).animationName") == "none"
    page.close()


def test_whole_blocks_are_read_aloud_once(context: BrowserContext, host: Served) -> None:
    page = context.new_page()
    force(page, "First words.\n\nSecond words.\n\nLast words.")
    open_page(page, host)
    ask(page, "Speak")
    answered(page)
    told = page.locator("#announcements p")
    expect(told.last).to_have_text("End of the answer.")
    assert told.all_inner_texts() == ["First words.", "Second words.", "Last words.", "End of the answer."]
