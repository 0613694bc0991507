"""What docs/browsers.md shows, run as printed, in its order."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from native_host.guard.grants import DEFAULT_SCOPES
from native_host.protocol.identity import ALL_SCOPES

from .conftest import ROOT

GUIDE = (ROOT / "docs" / "browsers.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]


def test_the_commands_run(environment: dict[str, str], tmp_path: Path) -> None:
    assert len(COMMANDS) == 10
    program = tmp_path / "bin" / "native-host"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m native_host "$@"\n')
    program.chmod(0o755)
    environ = {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}
    for command in COMMANDS:
        ran = subprocess.run(command, shell=True, env=environ, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
    assert json.loads((tmp_path / ".config/native-host/sharing.json").read_bytes()) == {}


def test_the_table_has_every_scope_and_the_default() -> None:
    rows = re.findall(r"^\| `([a-z.]+)` \|.*\| (yes|no) \|$", GUIDE, re.MULTILINE)
    assert {scope for scope, _ in rows} == ALL_SCOPES
    assert {scope for scope, default in rows if default == "yes"} == DEFAULT_SCOPES
