"""API keys: known by their SHA-256 only, read from a file or given as one key in the environment.

The file is JSON: `{"keys": [{"name": "botserver", "sha256": "<hex>", "scopes": ["infer"]}]}`; without
`scopes` a key may do everything. A plain hash is enough because keys are random, not chosen by people.
`guard.key_file` writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import msgspec

from native_host.guard.owned_file import read_owned
from native_host.guard.watched_files import WatchedFile
from native_host.protocol.identity import ALL_SCOPES, Identity, Quotas

ENVIRONMENT = "environment"
"""The name of the key that is given in the environment."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class KeyFileError(ValueError):
    """The file of keys cannot be read or is not what it should be."""


class StoredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One key. `sha256` is that of the key's UTF-8 text, in hex. `model` is used where a request names none,
    `prompt` is the named system prompt of its chats. From `expires` on it is refused.
    """

    name: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: frozenset[str] = ALL_SCOPES
    quotas: Quotas = Quotas()
    created: Moment | None = None
    expires: Moment | None = None
    model: str | None = None
    prompt: str | None = None

    def identity(self) -> Identity:
        """Whoever shows this key. Scopes that this release does not know allow nothing."""
        scopes = self.scopes & ALL_SCOPES
        return Identity("api_key", self.name, scopes, self.quotas, self.model, self.prompt, self.sha256)

    def valid(self, now: datetime) -> bool:
        """Whether its time has not run out."""
        return self.expires is None or now < self.expires


class KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    keys: list[StoredKey]


def now_utc() -> datetime:
    """The time by which keys expire."""
    return datetime.now(timezone.utc)


class KeyStore:
    """The keys that are valid now. The file is looked at for every question: a revoked key is refused at
    once. A file that is `optional` may be missing: there are no keys then.
    """

    def __init__(
        self,
        file: Path | None = None,
        single: str | None = None,
        *,
        optional: bool = False,
        clock: Callable[[], datetime] = now_utc,
    ) -> None:
        self._file = WatchedFile(file, read_keys) if file else None
        self._optional = optional
        self._single = StoredKey(ENVIRONMENT, hash_of(single)) if single else None
        self._clock = clock
        self.stored()

    def stored(self) -> list[StoredKey]:
        """All keys, expired ones too. Raises KeyFileError if the file is missing or wrong."""
        extra = [self._single] if self._single else []
        return extra + (self._in_file(self._file) if self._file else [])

    def find(self, api_key: str) -> Identity | None:
        """Whose key this is, or None. Looks at every key, in constant time for each."""
        import hmac

        digest, now, found = hash_of(api_key), self._clock(), None
        for key in self.stored():
            if hmac.compare_digest(digest, key.sha256) and key.valid(now):
                found = key.identity()
        return found

    def named(self, name: str) -> Identity | None:
        """What the key of this name stands for; None where there is none, or it has expired."""
        now = self._clock()
        return next((key.identity() for key in self.stored() if key.name == name and key.valid(now)), None)

    def still(self, identity: Identity) -> Identity | None:
        """What the key that `identity` was made of stands for now; None once it is revoked or has expired.
        Another key that was given the same name since is not it.
        """
        now, shown = self._clock(), (identity.name, identity.key)
        valid = (key for key in self.stored() if (key.name, key.sha256) == shown and key.valid(now))
        return next((key.identity() for key in valid), None)

    def _in_file(self, file: WatchedFile[list[StoredKey]]) -> list[StoredKey]:
        try:
            return file.content()
        except OSError as error:
            if self._optional and isinstance(error, FileNotFoundError):
                return []
            raise KeyFileError(f"the file of API keys cannot be read: {error}") from error


def hash_of(api_key: str) -> str:
    """What is stored of a key."""
    import hashlib

    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(file: Path) -> list[StoredKey]:
    """The keys in a file. Raises KeyFileError."""
    try:
        keys = read_owned(file, KeyFile, KeyFileError).keys
    except OSError as error:
        raise KeyFileError(f"the file of API keys cannot be read: {error}") from error
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise KeyFileError(f"{file}: two keys are called {name!r}")
    return keys
