"""The one interface of every store. Bytes go in and bytes come out, so that a store may as well be a server's
that several hosts share; `owner` says whose the keys are, and nobody sees another's.
"""

from __future__ import annotations

from typing import Protocol


class TooLarge(ValueError):
    """A value is longer than the store takes; `limit` is in bytes."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a value of {size} bytes is over the limit of {limit}")
        self.size = size
        self.limit = limit


class Store(Protocol):
    """Values by owner and key. Each method happens as a whole or not at all, whoever else is at work.

    `ttl_s` is how many seconds a value is kept, `None` without end; a store may drop values before, the least
    recently used first.
    """

    async def get(self, owner: str, key: str) -> bytes | None:
        """The value, or `None` where there is none (any more)."""

    async def set(self, owner: str, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Put a value in the place of whatever there is. Raises TooLarge."""

    async def append(self, owner: str, key: str, value: bytes, at: int) -> bool:
        """Add bytes to the end of a value that is `at` bytes long now. `False`, and nothing done, where it is
        of another length or not there. What is left of its time stays. Raises TooLarge.
        """

    async def delete(self, owner: str, key: str) -> bool:
        """Drop a value; whether there was one."""

    async def expire(self, owner: str, key: str, ttl_s: float | None) -> bool:
        """Keep a value for so long from now on; whether there is one."""

    async def keys(self, owner: str) -> list[str]:
        """The keys of an owner, the least recently used first."""
