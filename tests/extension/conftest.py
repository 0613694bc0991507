"""The extension in a real Chromium, with the real host that the browser starts for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from end_to_end.conftest import make_model
from end_to_end.processes import survivors
from playwright.sync_api import BrowserContext, CDPSession, Page, Playwright, sync_playwright
from web.conftest import PATIENCE_MS, page_models, watch

__all__ = ["page_models"]

ROOT = Path(__file__).parents[2]
EXTENSION = ROOT / "extension"
EXTENSION_ID = "pdlgcndmcliapkdimiipddnhdepegafd"
PAGE = f"chrome-extension://{EXTENSION_ID}/index.html"
SIZE = {"width": 420, "height": 760}

CHROMIUM_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def loading(extension: Path) -> list[str]:
    """Chromium's arguments for this extension and no other."""
    return [f"--disable-extensions-except={extension}", f"--load-extension={extension}"]


def chromium() -> str:
    program = shutil.which("chromium")
    assert program, "Chromium is needed (Debian: chromium)"
    return program


class Surroundings:
    """A person's home with a browser's profile in it, and the host as this browser would find it. `asker` is
    what the browser tells the host of the extension.
    """

    def __init__(self, home: Path, asker: str = f"chrome-extension://{EXTENSION_ID}/") -> None:
        self.home = home
        self.asker = asker
        self.profile = home / "profile"
        self.program = home / "native-host"
        self.manifests = self.profile / "NativeMessagingHosts"
        self.environment: dict[str, str | float | bool] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
            "HOME": str(home),
            "XDG_RUNTIME_DIR": str(home),
        }

    def write_program(self, models: Path) -> None:
        """The host as browsers can start it, with the paths that it is tested with."""
        kept = [name for name in ("PYTHONPATH", "TABAGENT_RUNTIME_DIR") if name in os.environ]
        exported = {name: os.environ[name] for name in kept} | {"MODEL_CONFIG_PATH": str(models)}
        lines = [f'export {name}="{value}"' for name, value in exported.items()]
        self.write_script(*lines, f'cd "{ROOT}"', f'exec "{sys.executable}" -m native_host "$@"')

    def write_script(self, *lines: str) -> None:
        """What the browser is to start."""
        self.program.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        self.program.chmod(0o755)

    def install(self, *command: str) -> None:
        """`native-host install …` for this browser; without arguments for the extension as it is."""
        given = command or ("install", "--browser", "chromium", "--extension-id", EXTENSION_ID)
        where = ["--dir", str(self.manifests), "--program", str(self.program)]
        subprocess.run(
            [sys.executable, "-m", "native_host", *given, *where],
            check=True,
            cwd=ROOT,
            env={name: str(value) for name, value in self.environment.items()},  # the grant goes there too
            timeout=120,
        )

    def uninstall(self) -> None:
        """As it was before."""
        shutil.rmtree(self.manifests, ignore_errors=True)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """One for all tests of a file."""
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="session")
def models_file(page_models: Path) -> Path:
    """What the tests of the page have, and `tiny`, which says thousands of tokens a second."""
    make_model(page_models.with_name("tiny.gguf"), "tiny")
    told = json.loads(page_models.read_text())
    told["models"]["tiny"] = {"type": "gguf", "path": "tiny.gguf", "threads": 1}
    file = page_models.with_name("extension-models.json")
    file.write_text(json.dumps(told))
    return file


@pytest.fixture(scope="module")
def surroundings(models_file: Path) -> Iterator[Surroundings]:
    """Nothing is installed yet. In a folder with a short path: a socket may lie in it."""
    with tempfile.TemporaryDirectory(prefix="nh-", ignore_cleanup_errors=True) as home:
        found = Surroundings(Path(home))
        found.write_program(models_file)
        yield found


@contextlib.contextmanager
def browsing(
    playwright: Playwright, surroundings: Surroundings, extension: Path = EXTENSION
) -> Iterator[BrowserContext]:
    """A browser with the extension."""
    context = playwright.chromium.launch_persistent_context(
        surroundings.profile,
        executable_path=chromium(),
        headless=True,
        timeout=PATIENCE_MS,
        ignore_default_args=["--disable-extensions"],
        args=[*CHROMIUM_ARGUMENTS, *loading(extension)],
        env=surroundings.environment,
        viewport={"width": SIZE["width"], "height": SIZE["height"]},
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture(scope="module")
def browser(playwright: Playwright, surroundings: Surroundings) -> Iterator[BrowserContext]:
    """One for all tests of a file. It knows no host."""
    with browsing(playwright, surroundings) as found:
        yield found


@pytest.fixture
def panel(browser: BrowserContext, surroundings: Surroundings) -> Iterator[Page]:
    """The page, connected, as if it were there for the first time. Nothing may go wrong in it unseen."""
    await_farewell(surroundings)
    surroundings.install()
    forget(browser)
    with watched(browser) as page:
        connected(page)
        yield page


def forget(browser: BrowserContext) -> None:
    """What pages have kept goes. By a page that starts no host: a second start could meet the first's end."""
    page = browser.new_page()
    page.goto(f"chrome-extension://{EXTENSION_ID}/icons/16.png")
    page.evaluate("localStorage.clear()")
    page.close()


@contextlib.contextmanager
def watched(browser: BrowserContext) -> Iterator[Page]:
    """A page of the extension."""
    page = browser.new_page()
    faults = watch(page)
    page.goto(PAGE)
    try:
        yield page
    finally:
        page.close()  # or it would hold the host
    assert faults == []


def connected(page: Page) -> None:
    """Wait until the page knows the models."""
    page.locator("#picker-name").get_by_text("tabagent-demo", exact=True).wait_for()


def stop_background(session: CDPSession) -> None:
    """As a browser does that wants its memory back; the page's session says it, for its extension."""
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")


def await_farewell(surroundings: Surroundings) -> None:
    """Wait for the last page's host to end. It stays for a moment, and a quick page finds it again."""
    assert survivors(hosts(surroundings)) == []


def hosts(surroundings: Surroundings) -> list[psutil.Process]:
    """The processes that the browser has started as the host."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            ours = process.environ().get("HOME") == str(surroundings.home)
            if ours and {surroundings.asker, "native_host"} <= set(process.cmdline()):
                found.append(process)
    return found
