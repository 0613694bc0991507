"""What docs/security.md shows, run as printed: commands, programs, the worked signature, the rules."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from native_host.guard import key_file
from native_host.guard.content import ContentRules
from native_host.guard.signatures import signature_of
from native_host.protocol.identity import Quotas
from native_host.settings import VARIABLES

from .spawning import served

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
SECRET = "the parent's secret"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the programs are run in: a gateway, keys for it, and the secret that it knows."""
    file = tmp_path_factory.mktemp("guide") / "keys.json"
    key, _ = key_file.create(file, "guide", quotas=Quotas(requests_per_minute=60))
    limited, _ = key_file.create(file, "limited", quotas=Quotas(requests_per_minute=2))
    settings = {"NATIVE_HOST_API_KEYS_FILE": str(file), "NATIVE_HOST_SECRET": SECRET}
    with served(environment=settings, open_loopback=False) as found:
        yield {**os.environ, "KEY": key, "LIMITED": limited, "SECRET": SECRET, "URL": found.url}


def test_there_are_examples() -> None:
    assert len(PROGRAMS) == 3
    assert len(COMMANDS) == 4


@pytest.mark.parametrize(
    ("program", "told"),
    [(PROGRAMS[0], "requests left"), (PROGRAMS[1], ""), (PROGRAMS[2], "2 requests a minute are allowed")],
    ids=["key", "signature", "limit"],
)
def test_programs(environment: dict[str, str], program: str, told: str) -> None:
    here = program.replace("http://127.0.0.1:8089", environment["URL"])
    assert here != program
    ran = subprocess.run(
        [sys.executable, "-c", here],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    assert told in ran.stdout


def test_commands(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    for command in COMMANDS:
        program, *arguments = command.split()
        assert program == "native-host"
        ran = subprocess.run(
            [sys.executable, "-m", "native_host", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip()


def test_the_worked_signature() -> None:
    (signed,) = re.findall(r"```text signed\n(.*?)\n```", GUIDE, re.DOTALL)
    secret, body, expected = re.findall(
        r"the secret `(.*?)` and the body `(.*?)`.*gives `([0-9a-f]{64})`", GUIDE, re.DOTALL
    )[0]
    _, timestamp, nonce, method, target, digest = signed.split("\n")
    assert digest == hashlib.sha256(body.encode()).hexdigest()
    assert signature_of(secret.encode(), timestamp, nonce, method, target, body.encode()) == expected


def test_the_rules_are_a_file_of_rules(tmp_path: Path) -> None:
    (document,) = re.findall(r"```json rules\n(.*?)```", GUIDE, re.DOTALL)
    file = tmp_path / "rules.json"
    file.write_text(document, encoding="utf-8")
    ContentRules.load(file)


def test_every_variable_that_is_named_there_is_one() -> None:
    from_guard = {
        "NATIVE_HOST_SECRET",
        "NATIVE_HOST_SECRET_FD",
        "NATIVE_HOST_SECRET_FILE",
        "NATIVE_HOST_API_KEY",
    }
    known = {variable for variable, _ in VARIABLES.values()} | from_guard
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})(?:=\w+)?`", GUIDE))
    assert named - known == set()
    assert {"RATE_LIMIT_PER_MINUTE", "API_KEY_HEADER", "NATIVE_HOST_CORS_ORIGINS"} <= named
