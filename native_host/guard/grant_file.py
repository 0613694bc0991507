"""Writes the file of grants: one process at a time, whole or not at all, readable by its owner only."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from native_host.guard.grants import DEFAULT_SCOPES, Grant, GrantFile, GrantFileError, Grants, by_default
from native_host.guard.keys import now_utc
from native_host.platform.whole_files import locked, write_whole
from native_host.protocol.identity import Quotas

NO_QUOTAS = Quotas()


def grant(
    file: Path,
    origin: str,
    scopes: frozenset[str] = frozenset(),
    quotas: Quotas = NO_QUOTAS,
    clock: Callable[[], datetime] = now_utc,
) -> Grant:
    """Let an origin do this too, and as much as this; what is not named stays as it was. An origin that had
    nothing gets the default grant where no scope is named.

    Raises GrantFileError for a file that cannot be read, OSError for one that cannot be written.
    """
    with _changing(file) as grants:
        before = _of(grants, origin) or Grants(file).find(origin) or Grant(origin, frozenset())
        made = Grant(
            origin,
            before.scopes | (scopes or (frozenset() if before.scopes else DEFAULT_SCOPES)),
            _merged(before.quotas, quotas),
            before.created or _now(clock),
        )
        grants[:] = [*(each for each in grants if each.origin != origin), made]
    return made


def revoke(file: Path, origin: str, scopes: frozenset[str] = frozenset()) -> Grant | None:
    """Take everything from an origin, or these scopes only; what it keeps. Raises as `grant`, and
    GrantFileError where there is nothing to take.
    """
    with _changing(file) as grants:
        held = Grants(file)
        before = _of(grants, origin) or held.find(origin)
        if before is None or not before.scopes:
            names = ", ".join(each.origin for each in held.all() if each.scopes) or "none"
            raise GrantFileError(f"{origin!r} has no grant; there is {names}")
        if scopes and not scopes & before.scopes:
            raise GrantFileError(f"{origin!r} has no {', '.join(sorted(scopes))}: nothing to revoke")
        kept = msgspec.structs.replace(before, scopes=before.scopes - scopes if scopes else frozenset())
        stays = kept.scopes or origin in held.named_by_manifests(system=True)
        rest = [each for each in grants if each.origin != origin]
        grants[:] = [*rest, kept] if stays else rest
    return kept if kept.scopes else None


def follow_manifests(file: Path, named: Iterable[str], dropped: Iterable[str]) -> None:
    """Manifests name these now, and no longer those: extensions that are new have the default grant, and
    those that no manifest names any more have none. Raises as `grant`.
    """
    held = Grants(file)
    named = list(named)
    still = {*named, *held.named_by_manifests(system=True), *held.named_by_manifests(system=False)}
    gone = set(dropped) - still
    if held.stored() is None and not named:
        return
    with _changing(file) as grants:
        kept = [each for each in grants if each.origin not in gone]
        known = {each.origin for each in kept if each.scopes}
        fresh = [
            msgspec.structs.replace(by_default(each), created=_now(now_utc))
            for each in dict.fromkeys(named)
            if each not in known
        ]
        renewed = {each.origin for each in fresh}
        grants[:] = [*(each for each in kept if each.origin not in renewed), *fresh]


@contextlib.contextmanager
def _changing(file: Path) -> Iterator[list[Grant]]:
    """The entries, to be changed in place; written when the context ends well, if they differ."""
    with locked(file.with_name(file.name + ".lock")):
        held = Grants(file)
        stored = held.stored()
        grants = _first_entries(held) if stored is None else list(stored)
        yield grants
        if grants != stored:
            _write(file, grants)


def _first_entries(held: Grants) -> list[Grant]:
    """What the first file holds: what the user's own manifests stood for as long as there was none."""
    return [by_default(origin) for origin in held.named_by_manifests(system=False)]


def _write(file: Path, grants: list[Grant]) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.chmod(0o600)  # the new file takes the old one's mode
    content = msgspec.json.format(msgspec.json.encode(GrantFile(grants), order="sorted"), indent=2)
    write_whole(file, content + b"\n")


def _of(grants: list[Grant], origin: str) -> Grant | None:
    return next((each for each in grants if each.origin == origin), None)


def _merged(before: Quotas, given: Quotas) -> Quotas:
    changes = {name: value for name, value in msgspec.structs.asdict(given).items() if value is not None}
    return msgspec.structs.replace(before, **changes)


def _now(clock: Callable[[], datetime]) -> datetime:
    return clock().replace(microsecond=0)
