"""When the parent goes, however it goes, nothing of ours stays."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psutil

from end_to_end.processes import family, survivors, workers
from native_host.client import Host

PARENT = Path(__file__).with_name("parent_program.py")


def test_parent_killed_while_generating(models_file: Path, slow_model: Path) -> None:
    command = [sys.executable, str(PARENT), str(models_file), "slow"]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    host_pid = int(parent.stdout.readline())
    assert workers(host_pid)
    ours = family(host_pid)
    parent.kill()
    parent.wait()
    assert not survivors(ours)


def test_host_killed_while_generating(host: Host, slow_model: Path) -> None:
    next(iter(host.stream("hello", model="slow", max_tokens=4000, ignore_eos=True)))
    everyone = family(host.info.server.pid)
    everyone[0].kill()
    assert not survivors(everyone)


def test_host_killed_while_loading(models_file: Path, slow_model: Path) -> None:
    with Host.spawn(models=models_file) as host:
        everyone: list[psutil.Process] = []

        def kill(_: object) -> None:
            if not everyone:
                everyone.extend(family(host.info.server.pid))
                everyone[0].kill()

        with contextlib.suppress(ConnectionError):
            host.load("slow", on_progress=kill)
        assert len(everyone) == 2
        assert not survivors(everyone)


def test_closing_while_generating(models_file: Path, slow_model: Path) -> None:
    with Host.spawn(models=models_file) as host:
        next(iter(host.stream("hello", model="slow", max_tokens=4000, ignore_eos=True)))
        everyone = family(host.info.server.pid)
    assert not survivors(everyone)
