"""The JavaScript client: its types, and its own tests in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
WEB = HERE.parents[1] / "web"


def run(*command: str | Path) -> None:
    ran = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_types_hold() -> None:
    compiler = WEB / "node_modules" / ".bin" / "tsc"
    assert compiler.exists(), "npm ci in web/ brings the compiler (scripts/test does it)"
    run(compiler, "--project", "tsconfig.json")


@pytest.mark.parametrize("file", sorted(HERE.glob("*.test.mjs")), ids=lambda file: file.name)
def test_in_node(file: Path) -> None:
    node = shutil.which("node")
    assert node, "Node 18 or newer is needed (Debian: nodejs)"
    run(node, "--experimental-global-webcrypto", "--test", file)  # Node 18 has it by that flag only
