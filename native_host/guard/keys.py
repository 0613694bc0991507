"""API keys: known by their SHA-256 only, read from a file or given as one key in the environment.

The file is JSON: `{"keys": [{"name": "botserver", "sha256": "<hex>", "scopes": ["infer"]}]}`; without
`scopes` a key may do everything. A plain hash is enough because keys are random, not chosen by people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from native_host.protocol.identity import ALL_SCOPES, Identity


class KeyFileError(ValueError):
    """The file of keys cannot be read or is not what it should be."""


class StoredKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One key. `sha256` is that of the key's UTF-8 text, in hex."""

    name: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    scopes: frozenset[str] = ALL_SCOPES


class _KeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: list[StoredKey]


class KeyStore:
    """The keys that are valid now. The file is read again for every question: a revoked key is refused at
    once."""

    def __init__(self, file: Path | None = None, single: str | None = None) -> None:
        self._file = file
        self._single = StoredKey("environment", hash_of(single)) if single else None
        self.stored()

    def stored(self) -> list[StoredKey]:
        """All keys. Raises KeyFileError if the file is missing or wrong."""
        extra = [self._single] if self._single else []
        return extra + (_read(self._file) if self._file else [])

    def find(self, api_key: str) -> Identity | None:
        """Whose key this is, or None. Looks at every key, in constant time for each."""
        import hmac

        digest, found = hash_of(api_key), None
        for key in self.stored():
            if hmac.compare_digest(digest, key.sha256):
                found = Identity("api_key", key.name, key.scopes & ALL_SCOPES)
        return found


def hash_of(api_key: str) -> str:
    """What is stored of a key."""
    import hashlib

    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def _read(file: Path) -> list[StoredKey]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_KeyFile).keys
    except OSError as error:
        raise KeyFileError(f"the file of API keys cannot be read: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{file}: {error}") from error
