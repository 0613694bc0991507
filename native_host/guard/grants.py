"""What browsers' extensions may do: each origin has what the user granted it, and nothing else.

The file is JSON: `{"grants": [{"origin": "chrome-extension://ID/", "scopes": ["infer"]}]}`. An entry holds
whatever else says about its origin; one without scopes allows nothing. Beside the file, manifests are the
user's word too: those for all users of the machine, which only its administrator can write, give the
extensions that they name the default grant; and where there is no file yet, because everything was installed
before there were grants, so do the user's own. `guard.grant_file` writes it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from native_host.guard.keys import Moment
from native_host.guard.owned_file import read_owned
from native_host.guard.watched_files import WatchedFile
from native_host.platform.browsers import manifest_files
from native_host.protocol.identity import ALL_SCOPES, Identity, Quotas

DEFAULT_SCOPES = frozenset({"infer", "models.read", "models.load"})
"""What an extension has that is installed and of which nothing else is said: it may use what there is."""


class GrantFileError(ValueError):
    """The file of grants cannot be read or is not what it should be."""


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one origin may do, and how much."""

    origin: str
    scopes: frozenset[str]
    quotas: Quotas = Quotas()
    created: Moment | None = None

    def identity(self) -> Identity:
        """Whoever comes from there. Scopes that this release does not know allow nothing."""
        return Identity("origin", self.origin, self.scopes & ALL_SCOPES, self.quotas)


class GrantFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    grants: list[Grant]


class _Manifest(msgspec.Struct, frozen=True):
    """What of a manifest says who may come."""

    allowed_origins: list[str] = []
    allowed_extensions: list[str] = []


class Grants:
    """What holds now. Files are looked at for every question: what was revoked is refused at once."""

    def __init__(self, file: Path | None) -> None:
        self._file = WatchedFile(file, read_grants) if file else None
        self._manifests: dict[bool, list[WatchedFile[list[str]]]] = {}

    def identity(self, origin: str) -> Identity:
        """Who comes from this origin: with its grant, or without any scope. Raises GrantFileError."""
        found = self.find(origin)
        return Identity("origin", origin, frozenset()) if found is None else found.identity()

    def find(self, origin: str) -> Grant | None:
        """The grant that the origin has. Raises GrantFileError."""
        stored = self.stored()
        entry = next((grant for grant in stored or () if grant.origin == origin), None)
        if entry is None and origin in self.implied(stored):
            return by_default(origin)
        return entry

    def all(self) -> list[Grant]:
        """Every origin's. Raises GrantFileError."""
        stored = self.stored()
        named = {grant.origin for grant in stored or ()}
        return [*(stored or ()), *(by_default(each) for each in self.implied(stored) if each not in named)]

    def stored(self) -> list[Grant] | None:
        """The file's entries; None where there is no file. Raises GrantFileError."""
        try:
            return self._file.content() if self._file is not None else None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise GrantFileError(f"the grants cannot be read: {error}") from error

    def implied(self, stored: list[Grant] | None) -> list[str]:
        """The origins that have the default grant by a manifest, unless the file says something else."""
        found = self.named_by_manifests(system=True)
        return found if stored is not None else [*found, *self.named_by_manifests(system=False)]

    def named_by_manifests(self, *, system: bool) -> list[str]:
        """The origins that manifests at their usual places let start the host."""
        if self._file is None and not system:  # there is no home, where the user's own would be
            return []
        found: dict[str, None] = {}
        for file in self._watched(system):
            try:
                found |= dict.fromkeys(file.content())
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):  # the browser takes it for none either
                continue
        return list(found)

    def _watched(self, system: bool) -> list[WatchedFile[list[str]]]:
        if system not in self._manifests:
            files = [path for _, path in manifest_files(system=system)]
            self._manifests[system] = [WatchedFile(path, read_manifest) for path in files]
        return self._manifests[system]


def by_default(origin: str) -> Grant:
    """What an origin has that was installed."""
    return Grant(origin, DEFAULT_SCOPES)


def read_grants(file: Path) -> list[Grant]:
    """The grants in a file. Raises GrantFileError, and FileNotFoundError."""
    try:
        grants = read_owned(file, GrantFile, GrantFileError).grants
    except FileNotFoundError:
        raise
    except OSError as error:
        raise GrantFileError(f"the grants cannot be read: {error}") from error
    origins = [grant.origin for grant in grants]
    for origin in origins:
        if origins.count(origin) > 1:
            raise GrantFileError(f"{file}: two grants for {origin!r}")
    return grants


def read_manifest(file: Path) -> list[str]:
    """The origins that a browser's manifest names. Raises OSError, msgspec.DecodeError."""
    found = msgspec.json.decode(file.read_bytes(), type=_Manifest)
    return [*found.allowed_origins, *found.allowed_extensions]


def way_out(origin: str, scope: str | None = None) -> str:
    """The command that grants what is missing."""
    import shlex  # seldom needed

    wanted = "" if scope is None else f" --scope {scope}"
    return f"`native-host grants grant {shlex.quote(origin)}{wanted}`"
