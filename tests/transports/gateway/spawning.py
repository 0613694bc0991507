"""Starts a real `native-host serve --http` and says where it answers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec


class Served(msgspec.Struct, frozen=True):
    """A gateway that answers at `url`; `pid` is its process."""

    url: str
    pid: int


@contextlib.contextmanager
def served(
    models: Path | None = None,
    *options: str,
    environment: Mapping[str, str] | None = None,
    open_loopback: bool = True,
) -> Iterator[Served]:
    """`native-host serve --http 127.0.0.1:0` until the block is left; it must then end with 0."""
    command = [sys.executable, "-m", "native_host", "serve", "--json", "--http", "127.0.0.1:0", *options]
    command += ["--models", str(models)] if models is not None else []
    command += ["--open-loopback"] if open_loopback else []
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())  # it says where it listens once it does
        yield Served(told["http"], process.pid)
    except BaseException:
        process.kill()
        process.wait()
        raise
    process.terminate()
    assert process.wait(timeout=60) == 0
