"""What becomes of loaded models, told as it happens: to the log, to counters, and to whoever subscribes."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Literal

import msgspec

from native_host.telemetry.logs import Log

log = Log("models")

Happening = Literal["loading", "loaded", "load_failed", "draining", "crashed", "ended"]
Reason = Literal["", "asked", "evicted", "turn", "idle", "changed", "removed", "given_up", "stopping"]
"""Why a model drains: `turn` is another model's, that has waited for memory too long; `given_up` is a load
that nobody waits for any more."""


class ModelEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change in the life of one worker, which `instance` numbers. `memory_bytes` and `load_ms` come with
    `loaded`, `error` (a kind of the catalogue) with `load_failed`.
    """

    model: str
    instance: int
    what: Happening
    reason: Reason = ""
    memory_bytes: int | None = None
    load_ms: float | None = None
    error: str | None = None


Listener = Callable[[ModelEvent], None]


class Events:
    """Tells, and counts what it told by model, happening and reason."""

    def __init__(self) -> None:
        self.counts: collections.Counter[tuple[str, Happening, Reason]] = collections.Counter()
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have every event told to `listener`, which must not block; call what is returned to end that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, event: ModelEvent) -> None:
        """Tell everyone. A listener that fails costs nobody else the event."""
        self.counts[event.model, event.what, event.reason] += 1
        fields = {name: value for name, value in msgspec.structs.asdict(event).items() if value is not None}
        log.info(f"model.{fields.pop('what')}", **fields)
        for listener in list(self._listeners):
            try:
                listener(event)
            except Exception as error:  # noqa: BLE001 - a listener's fault is its own
                log.failure("listener.failed", error)
