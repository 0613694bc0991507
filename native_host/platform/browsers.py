"""Where browsers look for programs that extensions may talk to (their native messaging hosts).

Linux and macOS: a folder of each browser's. Windows: a key of the registry, whose default value is the path
of the manifest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from msgspec import Struct

from native_host.platform.paths import data_dir

HOST_NAME = "com.tabagent.host"
"""The name by which extensions ask for the host."""

Family = Literal["chromium", "firefox"]


class Places(Struct, frozen=True):
    """Of one browser, on one system: its own folder beneath the user's, and the folder of all users, if it
    has one. Windows has keys of the registry in their place.
    """

    user: str
    system: str | None = None


class Browser(Struct, frozen=True):
    """A browser, and where it looks. `family` says how its extensions are named."""

    name: str
    family: Family
    linux: Places
    macos: Places
    windows: str


BROWSERS = {
    browser.name: browser
    for browser in (
        Browser(
            "chrome",
            "chromium",
            Places("google-chrome", "/etc/opt/chrome/native-messaging-hosts"),
            Places("Google/Chrome", "/Library/Google/Chrome/NativeMessagingHosts"),
            r"SOFTWARE\Google\Chrome\NativeMessagingHosts",
        ),
        Browser(
            "chromium",
            "chromium",
            Places("chromium", "/etc/chromium/native-messaging-hosts"),
            Places("Chromium", "/Library/Application Support/Chromium/NativeMessagingHosts"),
            r"SOFTWARE\Chromium\NativeMessagingHosts",
        ),
        Browser(
            "edge",
            "chromium",
            Places("microsoft-edge", "/etc/opt/edge/native-messaging-hosts"),
            Places("Microsoft Edge", "/Library/Microsoft/Edge/NativeMessagingHosts"),
            r"SOFTWARE\Microsoft\Edge\NativeMessagingHosts",
        ),
        Browser(
            "brave",
            "chromium",
            Places("BraveSoftware/Brave-Browser"),
            Places("BraveSoftware/Brave-Browser"),
            r"SOFTWARE\BraveSoftware\Brave-Browser\NativeMessagingHosts",
        ),
        Browser(
            "firefox",
            "firefox",
            Places(".mozilla", "/usr/lib/mozilla/native-messaging-hosts"),
            Places("Mozilla", "/Library/Application Support/Mozilla/NativeMessagingHosts"),
            r"SOFTWARE\Mozilla\NativeMessagingHosts",
        ),
    )
}


def own_folder(browser: Browser) -> Path | None:
    """Where the browser keeps what is the user's; it is there if the browser was ever used. Windows: None."""
    if sys.platform == "win32":
        return None
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support" / browser.macos.user
    if browser.family == "firefox":
        return Path.home() / browser.linux.user
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / browser.linux.user


def manifest_folder(browser: Browser, *, system: bool) -> Path | None:
    """Where the browser looks for manifests, for this user or for all; None where it looks nowhere."""
    if sys.platform == "win32":
        return data_dir() / "browsers" / browser.name  # anywhere will do: the registry has the path
    if system:
        places = browser.macos if sys.platform == "darwin" else browser.linux
        return Path(places.system) if places.system is not None else None
    folder = own_folder(browser)
    if folder is None:
        return None
    if sys.platform != "darwin" and browser.family == "firefox":
        return folder / "native-messaging-hosts"
    return folder / "NativeMessagingHosts"


def manifest_files(*, system: bool) -> list[tuple[Browser, Path]]:
    """Where this host's manifests are looked for, there or not."""
    folders = [(browser, manifest_folder(browser, system=system)) for browser in BROWSERS.values()]
    return [(browser, folder / f"{HOST_NAME}.json") for browser, folder in folders if folder is not None]


def in_use() -> list[Browser]:
    """The browsers that this user seems to have."""
    if sys.platform == "win32":
        return [BROWSERS["chrome"], BROWSERS["edge"]]
    found = [(browser, own_folder(browser)) for browser in BROWSERS.values()]
    return [browser for browser, folder in found if folder is not None and folder.is_dir()]


def register(browser: Browser, manifest: Path, *, system: bool) -> None:
    """Tell Windows where the manifest is; elsewhere its place says it. Raises OSError."""
    if sys.platform == "win32":
        import winreg

        with winreg.CreateKey(_hive(system), f"{browser.windows}\\{HOST_NAME}") as key:
            winreg.SetValueEx(key, "", 0, winreg.REG_SZ, str(manifest))


def unregister(browser: Browser, *, system: bool) -> None:
    """Take back what `register` did; nothing there is no error. Raises OSError."""
    if sys.platform == "win32":
        import contextlib
        import winreg

        with contextlib.suppress(FileNotFoundError):
            winreg.DeleteKey(_hive(system), f"{browser.windows}\\{HOST_NAME}")


if sys.platform == "win32":

    def _hive(system: bool) -> int:
        import winreg

        return winreg.HKEY_LOCAL_MACHINE if system else winreg.HKEY_CURRENT_USER
