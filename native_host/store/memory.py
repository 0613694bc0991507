"""A store in this process's memory, with bounds. It ends with the process."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from native_host.store.interface import TooLarge

_OVERHEAD_BYTES = 256
"""About what an entry takes beside its key and its value."""
_SWEEP_S = 60.0


class _Entry(msgspec.Struct):
    value: bytearray
    expires: float


class _Shelf:
    """One owner's entries, the least recently used first, and what they take."""

    def __init__(self) -> None:
        self.entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0


class MemoryStore:
    """Holds at most `max_bytes` in `max_entries`; a value has at most `max_value_bytes`.

    Where room is short, the owner who holds the most of what is short, entries or bytes, loses what it has
    used least recently: a greedy one never costs others their entries.
    """

    def __init__(
        self,
        max_bytes: int,
        max_entries: int,
        max_value_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._max_value_bytes = max_value_bytes
        self._clock = clock
        self._shelves: dict[str, _Shelf] = {}
        self._bytes = 0
        self._count = 0
        self._swept = clock()

    async def get(self, owner: str, key: str) -> bytes | None:
        """See `Store`."""
        entry = self._find(owner, key)
        return None if entry is None else bytes(entry.value)

    async def set(self, owner: str, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """See `Store`."""
        self._check(len(value))
        self._remove(owner, key)
        shelf = self._shelves.setdefault(owner, _Shelf())
        shelf.entries[key] = _Entry(bytearray(value), self._end(ttl_s))
        self._count += 1
        self._grow(shelf, _cost(key, len(value)))
        self._make_room()

    async def append(self, owner: str, key: str, value: bytes, at: int) -> bool:
        """See `Store`."""
        entry = self._find(owner, key)
        if entry is None or len(entry.value) != at:
            return False
        self._check(at + len(value))
        entry.value += value
        self._grow(self._shelves[owner], len(value))
        self._make_room()
        return True

    async def delete(self, owner: str, key: str) -> bool:
        """See `Store`."""
        there = self._find(owner, key) is not None
        self._remove(owner, key)
        return there

    async def expire(self, owner: str, key: str, ttl_s: float | None) -> bool:
        """See `Store`."""
        entry = self._find(owner, key)
        if entry is not None:
            entry.expires = self._end(ttl_s)
        return entry is not None

    async def keys(self, owner: str) -> list[str]:
        """See `Store`."""
        self._sweep()
        shelf = self._shelves.get(owner)
        return [] if shelf is None else list(shelf.entries)

    def _find(self, owner: str, key: str) -> _Entry | None:
        """The entry, which is the most recently used one from now on."""
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.get(key)
        if shelf is None or entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(owner, key)
            return None
        shelf.entries.move_to_end(key)
        return entry

    def _remove(self, owner: str, key: str) -> None:
        shelf = self._shelves.get(owner)
        entry = None if shelf is None else shelf.entries.pop(key, None)
        if shelf is None or entry is None:
            return
        self._count -= 1
        self._grow(shelf, -_cost(key, len(entry.value)))
        if not shelf.entries:
            del self._shelves[owner]

    def _grow(self, shelf: _Shelf, size: int) -> None:
        shelf.bytes += size
        self._bytes += size

    def _make_room(self) -> None:
        if self._clock() - self._swept >= _SWEEP_S or self._full:
            self._sweep()
        while self._full:
            too_many = self._count > self._max_entries
            owner, shelf = max(
                self._shelves.items(), key=lambda item: len(item[1].entries) if too_many else item[1].bytes
            )
            self._remove(owner, next(iter(shelf.entries)))

    @property
    def _full(self) -> bool:
        return self._bytes > self._max_bytes or self._count > self._max_entries

    def _sweep(self) -> None:
        """Drop what has expired."""
        now = self._swept = self._clock()
        expired = [
            (owner, key)
            for owner, shelf in self._shelves.items()
            for key, entry in shelf.entries.items()
            if entry.expires <= now
        ]
        for owner, key in expired:
            self._remove(owner, key)

    def _check(self, size: int) -> None:
        limit = min(self._max_value_bytes, self._max_bytes - _OVERHEAD_BYTES)
        if size > limit:
            raise TooLarge(size, limit)

    def _end(self, ttl_s: float | None) -> float:
        return math.inf if ttl_s is None else self._clock() + ttl_s


def _cost(key: str, size: int) -> int:
    return len(key) + size + _OVERHEAD_BYTES
