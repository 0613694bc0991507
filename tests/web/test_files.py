"""The page's files: libraries as published, everything in the wheel, nothing from elsewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from native_host.transports.gateway import page

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PACKAGES = WEB / "node_modules"
VENDORED = [
    ("marked", "lib/marked.esm.js", "marked.js"),
    ("marked", "LICENSE", "marked.LICENSE"),
    ("dompurify", "dist/purify.es.mjs", "purify.js"),
    ("dompurify", "LICENSE", "purify.LICENSE"),
]


@pytest.mark.parametrize(("package", "published", "file"), VENDORED)
def test_a_vendored_file_is_the_published_one(package: str, published: str, file: str) -> None:
    assert PACKAGES.is_dir(), "npm ci in web/ brings the packages (scripts/test does it)"
    assert (WEB / "vendor" / file).read_bytes() == (PACKAGES / package / published).read_bytes()


@pytest.mark.parametrize("package", ["marked", "dompurify"])
def test_the_list_of_vendored_libraries_is_true(package: str) -> None:
    told = json.loads((PACKAGES / package / "package.json").read_text())
    listed = (WEB / "vendor" / "README.md").read_text()
    assert f"| {package} | {told['version']} | {told['license'].strip('()')} |" in listed


def test_the_wheel_holds_what_is_served_and_nothing_else_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("native_host/web/")}
    served = {f"native_host/web/{file.relative_to(WEB).as_posix()}" for file in page.files(WEB).values()}
    assert served <= inside
    assert not [name for name in inside if "node_modules" in name or name.endswith(".json")]


def test_nothing_is_fetched_from_elsewhere() -> None:
    for file in page.files(WEB).values():
        if file.parent.name == "vendor":
            continue
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.findall(r"https?://(?!127\.0\.0\.1)[\w.]+", text), file
