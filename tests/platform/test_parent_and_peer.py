"""The parent's death and the peer's user, as the kernel tells them."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from native_host.platform.peer import peer_uid

ROOT = Path(__file__).parent.parent.parent
WATCHER = """
import asyncio, os, sys
from native_host.platform import parent
if sys.argv[1] == "poll":
    parent._open_pidfd = lambda process: None
async def main():
    died = asyncio.Event()
    parent.watch(asyncio.get_running_loop(), died.set)
    print(os.getpid(), flush=True)
    await died.wait()
asyncio.run(main())
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]])"


@pytest.mark.parametrize("way", ["pidfd", "poll"])
def test_a_killed_parent_is_noticed(way: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, WATCHER, way], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    watcher = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    ready, _, _ = select.select([watcher], [], [], 20)
    os.close(watcher)
    assert ready


def test_the_peers_user_is_known() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_a_peer_that_is_no_unix_socket_is_nobody() -> None:
    with socket.socket(socket.AF_INET) as unconnected:
        unconnected.close()
        assert peer_uid(unconnected) is None
