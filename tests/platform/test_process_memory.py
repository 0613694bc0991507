"""What a process holds, seen from outside."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from native_host.platform.process_memory import footprint, most_held, resident_bytes

HOLDS = 64 << 20
TELLS = f"held = bytearray(b'x') * {HOLDS}; print(flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {TELLS!r}])"


def started(program: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()  # it holds what it is to hold
    return process


def test_a_process_s_memory_is_what_psutil_says() -> None:
    process = started(TELLS)
    try:
        resident, seen = resident_bytes(process.pid), footprint(process.pid)
        assert resident is not None
        assert seen is not None
        assert abs(resident - psutil.Process(process.pid).memory_info().rss) < 1 << 20
        assert HOLDS <= seen.own <= seen.resident <= resident + (1 << 20)
    finally:
        process.communicate(b"\n")


def test_what_a_process_has_let_go_counts_as_most_held() -> None:
    process = started(f"held = bytearray(b'x') * {HOLDS}; del held; print(flush=True); input()")
    try:
        now, most = footprint(process.pid), most_held(process.pid)
        assert now is not None
        assert now.resident < HOLDS <= (most or 0)
    finally:
        process.communicate(b"\n")


def test_children_count() -> None:
    process = started(PARENT)
    try:
        assert (resident_bytes(process.pid) or 0) > HOLDS
        found = footprint(process.pid)
        assert found is not None
        assert found.own > HOLDS
    finally:
        process.communicate(b"\n")


def test_one_that_has_ended_holds_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped yet
    assert (resident_bytes(process.pid), footprint(process.pid)) == (None, None)
    process.wait()
    assert (resident_bytes(process.pid), footprint(process.pid)) == (None, None)
