"""A real Chromium starts the host that `native-host install` told it of, and an extension talks with it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, sync_playwright

from native_host.protocol.limits import BROWSER_MAX_FRAME_BYTES

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
WAIT_MS = 60_000
PUBLIC_KEY = (
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvZv5dkkMn/z9f/hthoL0amYaF+hCzKpxH/S7rJ7TyKpqcxPmHjaw"
    "bfyUr0A/iC74WlrI8zG+HR/NOhj/5bOtJtlHpALGQYh1Z65nyUU+BWyhvZtltZCKfeigoli1di5Krjt+V7PxgfumCfRKcjeY"
    "6nTyArA4YLovaGsidp+6wQT16vac6mMGikO7Lg5kvqFsc7O+iBIBBd3TkHWL1zURxJblgIYWTGESeD0Nv0keb32gxrk/KoXx"
    "sOHRFYeYP6SL5aXfHCy2Rf6YuGT1oVoRHiB07xr3o+E9Nqr9zdbRp3jy1KTgTSBJQrAX8eKv8zMMjpIUiB698HjArdqXSATQ"
    "LwIDAQAB"
)
"""Gives the extension its id. Nobody has the private half."""

PAGE = "<!doctype html><title>Talks with the host</title><output></output><script src=page.js></script>"
SCRIPT = """
const port = chrome.runtime.connectNative("com.tabagent.host");
const said = document.querySelector("output");
const ask = (id, method, params) => port.postMessage({ jsonrpc: "2.0", id, method, params });
const steps = [
  () => ask(1, "initialize", { protocol_version: "1", client: { name: "test", version: "1" } }),
  () => ask(2, "generate", { prompt: "Hello", max_tokens: 4, temperature: 0 }),
];
const answers = [];
const next = () => steps.length ? steps.shift()() : (said.textContent = JSON.stringify(answers));
port.onMessage.addListener((message) => {
  if ("id" in message && "jsonrpc" in message) { answers.push(message); next(); }
});
port.onDisconnect.addListener(() => { said.textContent = chrome.runtime.lastError?.message ?? "gone"; });
next();
"""


def extension(folder: Path) -> str:
    """Make an extension; its id."""
    folder.mkdir()
    manifest = {
        "manifest_version": 3,
        "name": "test",
        "version": "1",
        "permissions": ["nativeMessaging"],
        "key": PUBLIC_KEY,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "page.html").write_text(PAGE)
    (folder / "page.js").write_text(SCRIPT)
    digits = hashlib.sha256(base64.b64decode(PUBLIC_KEY)).hexdigest()[:32]
    return "".join(chr(ord("a") + int(digit, 16)) for digit in digits)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The host as browsers can start it, with the paths that it is tested with."""
    file = tmp_path / "native-host"
    paths = {name: os.environ[name] for name in ("PYTHONPATH", "TABAGENT_RUNTIME_DIR") if name in os.environ}
    exported = "".join(f'export {name}="{value}"\n' for name, value in paths.items())
    file.write_text(f'#!/bin/sh\n{exported}cd "{ROOT}"\nexec "{sys.executable}" -m native_host "$@"\n')
    file.chmod(0o755)
    return file


@pytest.fixture
def own_id(tmp_path: Path) -> str:
    return extension(tmp_path / "extension")


@pytest.fixture
def page(tmp_path: Path, own_id: str) -> Iterator[Page]:
    """A page of the extension, in a browser with a profile of its own."""
    folder = tmp_path / "extension"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path / "profile",
            executable_path=CHROMIUM,
            headless=True,
            timeout=WAIT_MS,
            ignore_default_args=["--disable-extensions"],
            args=[
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                f"--disable-extensions-except={folder}",
                f"--load-extension={folder}",
            ],
            env={**os.environ, "HOME": str(tmp_path)},
        )
        opened = browser.new_page()
        opened.set_default_timeout(WAIT_MS)
        yield opened
        browser.close()


def install(tmp_path: Path, program: Path, extension_id: str) -> None:
    command = [sys.executable, "-m", "native_host", "install", "--browser", "chromium"]
    where = ["--dir", str(tmp_path / "profile" / "NativeMessagingHosts"), "--program", str(program)]
    subprocess.run([*command, *where, "--extension-id", extension_id], check=True, cwd=ROOT, timeout=60)


def told(page: Page, own_id: str) -> str:
    """What the extension's page shows in the end."""
    page.goto(f"chrome-extension://{own_id}/page.html")
    output = page.locator("output:not(:empty)")
    output.wait_for(state="attached")
    return output.text_content() or ""


def test_an_extension_gets_an_answer_and_nothing_is_left_afterwards(
    tmp_path: Path, program: Path, page: Page, own_id: str
) -> None:
    install(tmp_path, program, own_id)
    initialized, generated = json.loads(told(page, own_id))
    assert initialized["result"]["limits"]["max_frame_out"] == BROWSER_MAX_FRAME_BYTES
    assert generated["result"]["usage"]["completion_tokens"] > 0
    host = psutil.Process(initialized["result"]["server"]["pid"])
    family = [host, *host.children(recursive=True)]
    page.goto("about:blank")
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_an_extension_that_is_not_named_is_kept_out(
    tmp_path: Path, program: Path, page: Page, own_id: str
) -> None:
    install(tmp_path, program, "a" * 32)
    assert "forbidden" in told(page, own_id)


def test_without_a_manifest_there_is_no_host(page: Page, own_id: str) -> None:
    assert "not found" in told(page, own_id)
