"""Ten thousand malformed frames at a real host: each must get its error, and a correct request after each its
answer.

    python benchmarks/malformed_frames.py [--frames 10000] [--seed 7]

Prints the host's memory before and after. Exits 1 at the first frame that is not answered as it must be.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import psutil

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "transports")]

from malformed import PING, frames  # noqa: E402

from native_host.protocol.frames import encode_frame  # noqa: E402


def hear(stream: IO[bytes]) -> Any:  # noqa: ANN401
    """The next document."""
    (length,) = struct.unpack("=I", stream.read(4))
    return json.loads(stream.read(length))


def resident(host: psutil.Process) -> int:
    """Resident memory in bytes."""
    return int(host.memory_info().rss)


def attack(stdin: IO[bytes], stdout: IO[bytes], count: int, seed: int) -> collections.Counter[str]:
    """Send the frames, a ping after each, and check both answers. How often each kind of error came."""
    ping, kinds = encode_frame(json.dumps(PING).encode()), collections.Counter[str]()
    for number, (data, expected) in enumerate(frames(count, seed)):
        writer = threading.Thread(target=stdin.write, args=(data + ping,))
        writer.start()  # beside reading: a frame may be longer than what a pipe holds
        error, pong = hear(stdout), hear(stdout)
        writer.join()
        kind = error.get("error", {}).get("data", {}).get("kind")
        if kind not in expected or pong.get("result", {}).get("pong") is not True:
            sys.exit(f"frame {number} ({data[:60]!r}): expected {expected}, got {error} and {pong}")
        kinds[kind] += 1
    return kinds


def main() -> None:
    """Attack and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "error"}
    command = [sys.executable, "-m", "native_host"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ, bufsize=0
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        host, stdout = psutil.Process(child.pid), os.fdopen(os.dup(child.stdout.fileno()), "rb")
        attack(child.stdin, stdout, 1000, options.seed + 1)  # what is allocated once and kept
        before, began = resident(host), time.perf_counter()
        kinds = attack(child.stdin, stdout, options.frames, options.seed)
        seconds, after = time.perf_counter() - began, resident(host)
        child.stdin.close()
    print(f"{options.frames} frames in {seconds:.1f} s: {dict(kinds)}")
    print(f"memory before {before / 1e6:.1f} MB, after {after / 1e6:.1f} MB; exit code {child.returncode}")


if __name__ == "__main__":
    main()
