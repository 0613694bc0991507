"""What a relay costs: an extension's port to a daemon, through the process that a browser starts, against the
daemon's socket itself.

    python benchmarks/relay_cost.py [--pings 5000] [--json]

Round trips of `ping`, frames of 64 KiB one behind the other, requests of 30 MB, and the relay's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil
from harness.report import AtMost, Report, row, show

ORIGIN = f"chrome-extension://{'a' * 32}/"
SMALL, LARGE = 64 * 1024, 30_000_000
MOST_BYTES = 25e6
MOST_ADDED_S = 1e-3


class Wire(Protocol):
    """One way to the daemon."""

    def write(self, data: bytes) -> None:
        """Send all of it."""

    def read(self, count: int) -> bytes:
        """So many bytes."""


class SocketWire:
    """The daemon's socket."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self.write = self._socket.sendall
        self._file = self._socket.makefile("rb")

    def read(self, count: int) -> bytes:
        return self._file.read(count)


class PortWire:
    """A relay's pipes."""

    def __init__(self, relay: subprocess.Popen[bytes]) -> None:
        assert relay.stdin is not None
        assert relay.stdout is not None
        self._stdin, self._stdout = relay.stdin, relay.stdout

    def write(self, data: bytes) -> None:
        self._stdin.write(data)
        self._stdin.flush()

    def read(self, count: int) -> bytes:
        return self._stdout.read(count)


def frame(size: int = 0) -> bytes:
    """A ping; with a member of so many bytes, which is refused as soon as it is read."""
    params = {"x": "y" * size} if size else {}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": params}).encode()
    return struct.pack("=I", len(body)) + body


def answered(wire: Wire) -> bytes:
    """The next frame."""
    (length,) = struct.unpack("=I", wire.read(4))
    return wire.read(length)


def introduce(wire: Wire) -> int:
    """`initialize`; the process that answers."""
    params = {"protocol_version": "1", "client": {"name": "benchmark", "version": "1"}}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).encode()
    wire.write(struct.pack("=I", len(body)) + body)
    return int(json.loads(answered(wire))["result"]["server"]["pid"])


def round_trips(wire: Wire, count: int) -> list[float]:
    """Seconds of each ping."""
    asked, took = frame(), []
    for _ in range(count):
        began = time.perf_counter()
        wire.write(asked)
        answered(wire)
        took.append(time.perf_counter() - began)
    return took


def throughput(wire: Wire, size: int, count: int) -> float:
    """Bytes a second, one frame behind the other."""
    asked = frame(size)
    began = time.perf_counter()

    def ask() -> None:
        for _ in range(count):
            wire.write(asked)

    writer = threading.Thread(target=ask)
    writer.start()
    for _ in range(count):
        answered(wire)
    writer.join()
    return len(asked) * count / (time.perf_counter() - began)


def alternating(ours: Wire, peer: Wire, rounds: int, measure: Callable[[Wire], float]) -> tuple[float, float]:
    """The medians of both, measured by turns."""
    found = [(measure(ours), measure(peer)) for _ in range(rounds)]
    return statistics.median(one for one, _ in found), statistics.median(other for _, other in found)


@contextmanager
def connected() -> Iterator[tuple[PortWire, SocketWire, psutil.Process]]:
    """A relay and a socket to the same daemon, both introduced."""
    with tempfile.TemporaryDirectory(prefix="nh-") as folder:
        environ = {**os.environ, "XDG_RUNTIME_DIR": folder, "HOME": folder, "LOG_LEVEL": "error"}
        host = [sys.executable, "-m", "native_host"]
        path = Path(folder) / "native-host.sock"
        serve = [*host, "serve", "--json", "--socket", str(path)]
        with subprocess.Popen(serve, env=environ, stdout=subprocess.PIPE) as daemon:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            with subprocess.Popen(
                [*host, ORIGIN], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as relay:
                port, direct = PortWire(relay), SocketWire(path)
                if introduce(port) != introduce(direct):
                    sys.exit("the relay has not found the daemon")
                yield port, direct, psutil.Process(relay.pid)
            daemon.terminate()


def measure(pings: int, rounds: int) -> Report:
    """All figures."""
    with connected() as (port, direct, relay):
        trips = alternating(port, direct, rounds, lambda wire: statistics.median(round_trips(wire, pings)))
        small = alternating(port, direct, rounds, lambda wire: throughput(wire, SMALL, 200))
        large = alternating(port, direct, rounds, lambda wire: throughput(wire, LARGE, 1))
        memory = relay.memory_info().rss
    rows = [
        row("ping, there and back, p50", "ms", trips[0] * 1e3, trips[1] * 1e3),
        row("added to it", "ms", (trips[0] - trips[1]) * 1e3, MOST_ADDED_S * 1e3, AtMost(1.0)),
        row("frames of 64 KiB", "MB/s", small[0] / 1e6, small[1] / 1e6),
        row("a request of 30 MB", "MB/s", large[0] / 1e6, large[1] / 1e6),
        row("memory of the relay, against 25 MB", "MB", memory / 1e6, MOST_BYTES / 1e6, AtMost(1.0)),
    ]
    return Report("An extension's way to the daemon", rows, ours="relay", peer="socket, or bound")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pings", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    show([measure(options.pings, options.rounds)], options.json)


if __name__ == "__main__":
    main()
