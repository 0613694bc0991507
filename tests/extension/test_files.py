"""The extension's files: what it may do, and what is packed for stores and for Firefox."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pack_extension
import pytest
from playwright.sync_api import Playwright, expect
from web.conftest import PATIENCE_MS

from native_host import __version__

from .conftest import EXTENSION, EXTENSION_ID, Surroundings, browsing, watched


def manifest(family: str) -> dict[str, Any]:
    return dict(pack_extension.manifest(family))


def test_the_id_is_fixed() -> None:
    digits = hashlib.sha256(base64.b64decode(manifest("chromium")["key"])).hexdigest()[:32]
    assert "".join(chr(ord("a") + int(digit, 16)) for digit in digits) == EXTENSION_ID


@pytest.mark.parametrize("family", pack_extension.FAMILIES)
def test_it_reaches_the_host_and_nothing_else(family: str) -> None:
    told = manifest(family)
    allowed = {"nativeMessaging", "contextMenus", "storage", *(["sidePanel"] if family == "chromium" else [])}
    assert set(told["permissions"]) == allowed
    assert not {
        "host_permissions",
        "optional_permissions",
        "optional_host_permissions",
        "content_scripts",
    } & set(told)
    policy = told["content_security_policy"]["extension_pages"]
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    for file in EXTENSION.glob("*.js"):
        assert not re.findall(r"https?://", file.read_text(encoding="utf-8")), file


def test_its_version_is_the_hosts() -> None:
    assert manifest("chromium")["version"] == manifest("firefox")["version"] == __version__


def test_firefox_gets_a_sidebar_and_an_id_of_its_own() -> None:
    told = manifest("firefox")
    assert told["browser_specific_settings"]["gecko"]["id"] == "native-host@tabagent.com"
    assert told["sidebar_action"]["default_panel"] == "index.html"
    assert told["background"]["scripts"] == ["background.js"]
    assert not {"key", "side_panel", "minimum_chrome_version"} & set(told)


@pytest.mark.parametrize("family", pack_extension.FAMILIES)
def test_what_is_packed_is_whole_and_plain(family: str, tmp_path: Path) -> None:
    folder = pack_extension.lay_out(family, tmp_path / family)
    packed = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert not [file for file in folder.rglob("*") if file.is_symlink()]
    for script in (file for file in folder.rglob("*.js") if file.parent.name != "vendor"):
        for name in re.findall(
            r'^(?:import|export) .*from "(.+)";', script.read_text(encoding="utf-8"), re.M
        ):
            assert (script.parent / name).is_file(), (script, name)
    told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert {*told["icons"].values(), "index.html", "background.js"} <= packed
    first = pack_extension.pack(folder).read_bytes()
    with zipfile.ZipFile(pack_extension.pack(folder)) as archive:
        assert set(archive.namelist()) == packed
    assert pack_extension.pack(folder).read_bytes() == first


def test_what_is_packed_works(playwright: Playwright, surroundings: Surroundings, tmp_path: Path) -> None:
    folder = pack_extension.lay_out("chromium", tmp_path / "packed")
    with browsing(playwright, surroundings, folder) as browser, watched(browser) as page:
        expect(page.locator("#trouble")).to_contain_text("One step is missing", timeout=PATIENCE_MS)
