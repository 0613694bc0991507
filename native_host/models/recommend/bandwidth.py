"""How fast this machine reads memory: what a token's speed depends on, since each one reads all weights.

Measured in about a third of a second and kept in the user's cache folder. An hour later it is measured again,
and the better figure stays: whatever else the machine does can only make one too low.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from native_host.platform.paths import cache_dir
from native_host.platform.whole_files import write_whole

BUFFER_BYTES = 256 << 20
"""More than processors cache."""

ROUNDS = 8
FRESH_S = 3600.0
_FILL = 7
_ABSENT = 1


class MemorySpeed(msgspec.Struct, frozen=True):
    """`processor` is what it was measured on, with `threads` at once; `measured_at` as `time.time` counts."""

    processor: str
    threads: int
    bytes_per_s: float
    measured_at: float = 0.0


def memory_speed(processor: str, threads: int, available_bytes: int) -> MemorySpeed:
    """The kept figure, or a new one. Blocks while it measures, on all of these threads."""
    file = cache_dir() / "memory-speed.json"
    kept = _kept(file)
    if kept is None or (kept.processor, kept.threads) != (processor, threads):
        kept = MemorySpeed(processor, threads, 0.0)
    elif time.time() - kept.measured_at < FRESH_S:
        return kept
    best = max(kept.bytes_per_s, measure(threads, min(BUFFER_BYTES, available_bytes // 8)))
    speed = MemorySpeed(processor, threads, best, time.time())
    with contextlib.suppress(OSError):  # no folder to keep it in: it is measured anew next time
        write_whole(file, msgspec.json.encode(speed))
    return speed


def measure(threads: int, size: int = BUFFER_BYTES) -> float:
    """Bytes a second, the best of several rounds: what disturbs them only makes them slower.

    The C library's memchr is a plain read of everything, and ctypes lets go of the interpreter meanwhile.
    """
    search = ctypes.CDLL(None).memchr
    search.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    search.restype = ctypes.c_void_p
    share = max(size // threads, mmap.PAGESIZE)
    with mmap.mmap(-1, share * threads) as memory:
        memory.write(bytes([_FILL]) * (share * threads))  # a page that nobody wrote to is no memory yet
        view = (ctypes.c_char * (share * threads)).from_buffer(memory)
        begin = ctypes.addressof(view)
        with ThreadPoolExecutor(threads) as pool:
            best = min(_round(pool, search, begin, share, threads) for _ in range(ROUNDS))
        del view
    return share * threads / best


def _round(
    pool: ThreadPoolExecutor, search: ctypes._NamedFuncPointer, begin: int, share: int, threads: int
) -> float:
    started = time.perf_counter()
    list(pool.map(lambda number: search(begin + number * share, _ABSENT, share), range(threads)))
    return time.perf_counter() - started


def _kept(file: Path) -> MemorySpeed | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=MemorySpeed)
    except (OSError, msgspec.DecodeError):
        return None
