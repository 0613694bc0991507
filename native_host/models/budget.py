"""Decides whether a model fits into the memory that models may use, and which others go for it. Pure: what is
measured, waited for and ended is the manager's business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Standing = Literal["pinned", "idle", "busy", "loading", "leaving"]


class Holding(msgspec.Struct, frozen=True):
    """Memory that one loaded model holds, or is about to.

    `since` is when an idle model was last used, and when a busy one was loaded. `number` is the caller's, to
    know it by.
    """

    name: str
    bytes: int
    standing: Standing
    since: float = 0.0
    number: int = 0


class Fits(msgspec.Struct, frozen=True):
    """There is room now."""


class Wait(msgspec.Struct, frozen=True):
    """There will be room: once what is leaving has gone, these retired (they take no newcomers and end when
    unused), or another model has become idle.
    """

    retire: list[Holding] = []


class Never(msgspec.Struct, frozen=True):
    """There will be no room: only `available_bytes` are not held for good; `unloadable` are the models that
    hold the rest.
    """

    available_bytes: int
    unloadable: list[str]


def plan(
    limit: int, holdings: Sequence[Holding], needed: int, promised: int = 0, impatient: bool = False
) -> Fits | Wait | Never:
    """What is to be done for a model that needs so many bytes.

    `promised` is what those need who have waited for longer: nobody passes them, unless there is room for
    all. Idle models are retired in the order of their last use, and only as many as it takes. `impatient`
    retires busy ones too, the one that was loaded first before the others, so that a crowd that keeps some
    models busy cannot keep the others out for good.
    """
    kept = [holding for holding in holdings if holding.standing == "pinned"]
    available = limit - _sum(kept)
    if needed > available:
        return Never(max(available, 0), [holding.name for holding in kept])
    used = _sum(holdings)
    leaving = _sum(holding for holding in holdings if holding.standing == "leaving")
    missing = used - leaving + promised + needed - limit
    if missing <= 0:
        return Fits() if needed <= limit - used else Wait()
    candidates = _by_age(holdings, "idle") + (_by_age(holdings, "busy") if impatient else [])
    if _sum(candidates) < missing:
        return Wait()
    return Wait(_enough(candidates, missing))


def _enough(candidates: list[Holding], missing: int) -> list[Holding]:
    """The first ones that together hold what is missing, less those that the later ones make needless."""
    chosen: list[Holding] = []
    for holding in candidates:
        if _sum(chosen) >= missing:
            break
        chosen.append(holding)
    for holding in list(chosen):
        if _sum(chosen) - holding.bytes >= missing:
            chosen.remove(holding)
    return chosen


def to_trim(limit: int, holdings: Sequence[Holding]) -> list[Holding]:
    """The idle models to retire where models have grown beyond the limit; the last one used may stay."""
    idle = _by_age(holdings, "idle")
    busy = any(holding.standing in ("busy", "pinned", "loading") for holding in holdings)
    candidates = idle if busy else idle[:-1]
    missing = _sum(holding for holding in holdings if holding.standing != "leaving") - limit
    return _enough(candidates, missing) if missing > 0 else []


def _by_age(holdings: Sequence[Holding], standing: Standing) -> list[Holding]:
    return sorted((one for one in holdings if one.standing == standing), key=lambda one: one.since)


def _sum(holdings: Iterable[Holding]) -> int:
    return sum(holding.bytes for holding in holdings)
