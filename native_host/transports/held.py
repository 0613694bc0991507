"""What a peer makes the host hold, counted until nobody needs it any more."""

from __future__ import annotations

from native_host.protocol.frames import ByteBudget


class Held:
    """The bytes of one frame or body, given back to the budget when the last request made of them is done."""

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self._size = size
        self._users = 1

    def grow(self, count: int) -> bool:
        """Hold so many more, or answer False where the budget has no room for them."""
        taken = self._budget.take(count)
        self._size += count * taken
        return taken

    def keep(self) -> None:
        """One user more."""
        self._users += 1

    def release(self) -> None:
        """One user less."""
        self._users -= 1
        if not self._users:
            self._budget.give(self._size)
