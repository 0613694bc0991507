"""Who is served next by a backend that can serve a few requests at a time."""

from __future__ import annotations

from typing import Generic, TypeVar

from native_host.protocol import errors
from native_host.workers.messages import GenerateRequest

MOST_WAITING = 1024
_RETRY_AFTER_S = 1.0

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by request. Those of the highest priority come first; among them those of the identity that
    was served least recently, so that one caller's crowd holds nobody else up; then the oldest.

    It has no lock of its own.
    """

    def __init__(self, bound: int = MOST_WAITING) -> None:
        self._bound = bound
        self._waiting: dict[int, tuple[GenerateRequest, T]] = {}
        self._turns = 0
        self._served: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request_id: int, request: GenerateRequest, what: T) -> None:
        """Add a request. Raises overloaded."""
        if len(self._waiting) >= self._bound:
            raise errors.overloaded(len(self._waiting), _RETRY_AFTER_S)
        self._waiting[request_id] = (request, what)

    def remove(self, request_id: int) -> T | None:
        """Take a request out, if it waits."""
        found = self._waiting.pop(request_id, None)
        return None if found is None else found[1]

    def next(self) -> T | None:
        """Take out whose turn it is."""
        if not self._waiting:
            return None
        request_id, (request, what) = min(self._waiting.items(), key=lambda item: self._rank(item[1][0]))
        del self._waiting[request_id]
        self._note(request.identity)
        return what

    def _rank(self, request: GenerateRequest) -> tuple[int, int]:
        return -request.priority, self._served.get(request.identity, 0)

    def _note(self, identity: int) -> None:
        """Remember the turn, for as long as it can matter: while somebody waits."""
        if not self._waiting:
            self._served.clear()
        self._turns += 1
        self._served[identity] = self._turns
