"""Takes the README's pictures of the chat page: a real host, the built-in model, Chromium.

    python scripts/page_pictures.py docs/images

Nothing is staged: the answers and the figures are what the model said in this run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

WIDE: ViewportSize = {"width": 1100, "height": 620}
NARROW: ViewportSize = {"width": 390, "height": 760}
QUESTIONS = ("What is this program?", "Does my data stay on this machine?")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    program = shutil.which("chromium")
    if program is None:
        parser.error("Chromium is needed (Debian: chromium)")
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        light = opened(browser, url, WIDE, "light")
        for count, question in enumerate(QUESTIONS, start=1):
            light.get_by_label("Your question").fill(question)
            light.keyboard.press("Enter")
            light.locator(".answer:not([aria-busy])").nth(count - 1).wait_for()
        light.screenshot(path=folder / "page.png")
        opened(browser, url, NARROW, "dark").screenshot(path=folder / "page-dark.png")
        browser.close()
    return 0


@contextlib.contextmanager
def served() -> Iterator[str]:
    """A host with the built-in model; its address."""
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-m", "native_host", "serve", "--json", "--http", "127.0.0.1:0"]
        process = subprocess.Popen(
            [*command, "--open-loopback"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_CONFIG_HOME": home},
        )
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["http"]
        finally:
            process.terminate()
            process.wait()


def opened(browser: Browser, url: str, size: ViewportSize, theme: str) -> Page:
    """The page in this theme, connected."""
    context = browser.new_context(viewport=size)
    kept = json.dumps({"theme": theme})
    context.add_init_script(f"localStorage.setItem('native-host.settings', {kept!r})")
    page = context.new_page()
    page.goto(url)
    page.locator("#picker-name").get_by_text("tabagent-demo", exact=True).wait_for()
    return page


if __name__ == "__main__":
    sys.exit(main())
