"""What holds for every command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from native_host import __version__

from .conftest import Run

COMMANDS = [
    *(["chat"], ["generate"], ["hardware"], ["doctor"], ["config"], ["serve"], ["stdio"]),
    *(["models", "list"], ["models", "inspect"], ["models", "load"], ["models", "unload"]),
    *(["keys", "create"], ["keys", "list"], ["keys", "revoke"]),
]


def test_help_lists_every_command(run: Run) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(command[0] in shown.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_takes_json_and_models(run: Run, command: list[str]) -> None:
    shown = run(*command, "--help")
    assert shown.returncode == 0
    assert "--json" in shown.stdout
    assert "--models" in shown.stdout


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version").stdout == f"native-host {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["generate"], ["models", "list", "--models", "/none.json"]]
)
def test_wrong_usage_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr != ""


def test_a_daemon_that_is_not_there_is_one_line_and_exit_code_1(run: Run) -> None:
    refused = run("models", "list", "--socket", "/nonexistent.sock")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr == "error: no host listens at /nonexistent.sock: No such file or directory\n"


def test_importing_it_prints_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import native_host.cli"], capture_output=True, check=True, timeout=60
    )
    assert done.stdout == done.stderr == b""
