"""How much memory a process and its children hold. On Linux read from /proc, which is quick enough for the
event loop (`resident_bytes`) or should be left to a thread (`footprint`); elsewhere psutil tells.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_LINUX = sys.platform.startswith("linux")
_ENTRY = re.compile(rb"^(Pss|Pss_Anon|Pss_Shmem|Anonymous):\s+(\d+) kB", re.MULTILINE)
_STATUS = re.compile(rb"^(VmHWM|VmRSS):\s+(\d+) kB", re.MULTILINE)


class Footprint(msgspec.Struct, frozen=True):
    """Bytes of memory. `resident` is what the process holds, memory that it shares counted by its part
    (where the system tells; in full elsewhere); `own` is what its end gives back for certain: no file's
    pages, which the system could take at any time.
    """

    resident: int
    own: int

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(self.resident + other.resident, self.own + other.own)


def resident_bytes(pid: int) -> int | None:
    """Resident set size of a process and its children; `None` for one that has ended."""
    own = _resident(pid)
    if own is None:
        return None
    return own + sum(_resident(child) or 0 for child in _descendants(pid))


def footprint(pid: int) -> Footprint | None:
    """What a process and its children hold; `None` for one that has ended. Takes milliseconds a gigabyte."""
    whole = _footprint(pid)
    if whole is None:
        return None
    for child in _descendants(pid):
        whole += _footprint(child) or Footprint(0, 0)
    return whole


def most_held(pid: int) -> int | None:
    """The most that a process has held, shared memory counted by its part (on systems that do not tell: what
    it holds now); `None` for one that has ended.
    """
    now = _footprint(pid)
    if now is None or not _LINUX:
        return None if now is None else now.resident
    try:
        text = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return now.resident
    kib = {name: int(number) for name, number in _STATUS.findall(text)}
    return now.resident + ((kib.get(b"VmHWM", 0) - kib.get(b"VmRSS", 0)) << 10)


def _resident(pid: int) -> int | None:
    if not _LINUX:
        return _psutil_resident(pid)
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_bytes().split()[1])
    except (OSError, IndexError):
        return None
    return pages * _PAGE or None  # a process that has ended and is not reaped yet holds nothing


def _footprint(pid: int) -> Footprint | None:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_bytes() if _LINUX else b""
    except OSError:
        text = b""
    kib = {name: int(number) for name, number in _ENTRY.findall(text)}
    if b"Pss" in kib:
        own = kib.get(b"Pss_Anon", kib.get(b"Anonymous", 0)) + kib.get(b"Pss_Shmem", 0)
        return Footprint(kib[b"Pss"] << 10, own << 10)
    resident = _resident(pid)
    return None if resident is None else Footprint(resident, resident)


def _descendants(pid: int) -> Iterator[int]:
    if not _LINUX:
        yield from _psutil_descendants(pid)
        return
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in thread.read_bytes().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from _descendants(child)


def _psutil_resident(pid: int) -> int | None:
    import psutil  # not on the way to the first ping

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return int(process.memory_info().rss)
    except psutil.Error:
        return None


def _psutil_descendants(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []
