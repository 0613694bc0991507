"""The JavaScript of the page and of the extension: its types, and its own tests in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
WEB = TESTS.parent / "web"
FOLDERS = ("web", "extension")
FILES = [file for folder in FOLDERS for file in sorted((TESTS / folder).glob("*.test.mjs"))]


def run(*command: str | Path) -> None:
    ran = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_types_hold(folder: str) -> None:
    compiler = WEB / "node_modules" / ".bin" / "tsc"
    assert compiler.exists(), "npm ci in web/ brings the compiler (scripts/test does it)"
    run(compiler, "--project", WEB.parent / folder / "tsconfig.json")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_in_node(file: Path) -> None:
    node = shutil.which("node")
    assert node, "Node 18 or newer is needed (Debian: nodejs)"
    run(node, "--experimental-global-webcrypto", "--test", file)  # Node 18 has it by that flag only
