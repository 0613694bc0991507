"""How soon a freshly spawned host answers `ping`, against Python importing asyncio and msgspec; and its
memory.

    python benchmarks/startup.py [--runs 20]

Both are started in turn, in the same minutes, so that what else the machine does weighs on both alike. The
goal is a ratio of 2 and an idle host under 60 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parent.parent
HOST = [sys.executable, "-m", "native_host"]
PEER = [sys.executable, "-c", "import asyncio, msgspec"]
PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


def time_ping() -> tuple[float, int]:
    """Seconds from spawn to the answer, and the host's resident memory in bytes after it."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    with subprocess.Popen(
        HOST, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ
    ) as host:
        assert host.stdin is not None
        assert host.stdout is not None
        host.stdin.write(struct.pack("=I", len(PING)) + PING)
        host.stdin.flush()
        (length,) = struct.unpack("=I", host.stdout.read(4))
        answer = json.loads(host.stdout.read(length))
        seconds = time.perf_counter() - began
        assert answer["result"]["pong"] is True
        return seconds, psutil.Process(host.pid).memory_info().rss


def time_peer() -> float:
    """Seconds that the peer takes from spawn to exit."""
    began = time.perf_counter()
    subprocess.run(PEER, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    time_ping(), time_peer()  # compile and fill the page cache
    peers, hosts, memory = [], [], []
    for _ in range(runs):
        peers.append(time_peer())
        seconds, resident = time_ping()
        hosts.append(seconds)
        memory.append(resident)
    host, peer = statistics.median(hosts), statistics.median(peers)
    print(f"spawn to ping     {host * 1000:6.1f} ms (median of {runs})")
    print(f"asyncio, msgspec  {peer * 1000:6.1f} ms (median of {runs})")
    print(f"ratio             {host / peer:6.2f}    (goal: 2 or less)")
    print(f"idle memory       {statistics.median(memory) / 1e6:6.1f} MB (goal: under 60)")


if __name__ == "__main__":
    main()
