"""What docs/gateway.md shows works as printed, against a real gateway at another port."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from .spawning import Served

GUIDE = (Path(__file__).parents[3] / "docs" / "gateway.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8089"
PYTHON = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
CURL = re.findall(r"^curl .*$", GUIDE, re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(PYTHON) >= 2
    assert len(CURL) >= 8


@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_python(gateway: Served, block: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", block.replace(ADDRESS, gateway.url)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()


@pytest.mark.parametrize("command", CURL)
def test_curl(gateway: Served, command: str) -> None:
    """As curl would send it: curl itself is not on every machine."""
    _, url, *options = shlex.split(command.replace(ADDRESS, gateway.url))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if options:
        flag, body = options
        assert flag == "-d"
        answer = httpx.post(url, content=body, headers=headers, timeout=100)
    else:
        answer = httpx.get(url, timeout=100)
    assert answer.status_code == 200, answer.text
