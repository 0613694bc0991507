"""Draws the extension's icons (`extension/icons/`) from the page's own (`web/page/icon.svg`), by Chromium."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
SIZES = (16, 32, 48, 128)


def main() -> int:
    program = shutil.which("chromium")
    if program is None:
        print("Chromium is needed (Debian: chromium)", file=sys.stderr)
        return 1
    drawing = (ROOT / "web" / "page" / "icon.svg").read_text(encoding="utf-8")
    style = "<style>body { margin: 0 } svg { display: block; width: 100vw; height: 100vh }</style>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for size in SIZES:
            page = browser.new_page(viewport={"width": size, "height": size})
            page.set_content(style + drawing)
            page.screenshot(path=ROOT / "extension" / "icons" / f"{size}.png", omit_background=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
