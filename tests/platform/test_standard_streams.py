"""The real standard output belongs to the frames; everything else that writes ends up on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
SCRIPT = """
import os, subprocess, sys
from native_host.platform import standard_streams
frames_in, frames_out = standard_streams.claim()
print("printed"); sys.stdout.flush()
os.write(1, b"native")
subprocess.run([sys.executable, "-c", "import os; os.write(1, b'child'); print(os.read(0, 5))"])
assert not os.get_inheritable(frames_in) and not os.get_inheritable(frames_out)
assert min(frames_in, frames_out) > 2
os.write(frames_out, b"frame:" + os.read(frames_in, 100))
"""


def test_only_frames_reach_stdout() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=b"hello", capture_output=True, cwd=ROOT, timeout=30
    )
    assert done.stdout == b"frame:hello"
    for stray in (b"printed", b"native", b"child", b"b''"):
        assert stray in done.stderr


def test_a_closed_stderr_is_no_trap() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec 2>&-; exec "$0" -c "$1"', sys.executable, SCRIPT],
        input=b"hello",
        stdout=subprocess.PIPE,
        cwd=ROOT,
        timeout=30,
    )
    assert done.stdout == b"frame:hello"
