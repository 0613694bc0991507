"""The fake host as a command line."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def fake_host() -> list[str]:
    """What to spawn for a host that does what the tests need (see `fake_host.py`)."""
    return [sys.executable, str(Path(__file__).with_name("fake_host.py"))]


@pytest.fixture
def fake_daemon(fake_host: list[str], tmp_path: Path) -> Iterator[Path]:
    """A socket at which one connection has the fake host."""
    path = tmp_path / "host.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(60)

        def serve() -> None:
            connected, _ = listening.accept()
            with connected:
                ends = connected.fileno()
                subprocess.run(fake_host, stdin=ends, stdout=ends, check=True)

        serving = threading.Thread(target=serve)
        serving.start()
        yield path
        serving.join()


@pytest.fixture
def silent_socket(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket of our own at `silent.sock`, whose connections wait to be accepted."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(tmp_path / "silent.sock"))
        listening.listen()
        listening.settimeout(60)
        yield listening


def hear(listening: socket.socket) -> bytes:
    """All that the next connection says until its end."""
    connected, _ = listening.accept()
    connected.settimeout(60)
    with connected, connected.makefile("rb") as stream:
        return stream.read()
