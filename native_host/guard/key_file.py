"""Writes the file of API keys: one process at a time, whole or not at all, readable by its owner only.

A key is 256 random bits. Whoever makes one sees it once; the file keeps its SHA-256.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from native_host.guard.keys import ENVIRONMENT, KeyFile, KeyFileError, StoredKey, hash_of, now_utc, read_keys
from native_host.platform.whole_files import locked, write_whole
from native_host.protocol.identity import ALL_SCOPES, Quotas

KEY_BYTES = 32
KEY_PREFIX = "nh_"
"""So that scanners for leaked secrets can be told what a key looks like."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")


def create(
    file: Path,
    name: str,
    *,
    scopes: frozenset[str] = ALL_SCOPES,
    quotas: Quotas = Quotas(),  # noqa: B008 - frozen
    expires: datetime | None = None,
    model: str | None = None,
    prompt: str | None = None,
    clock: Callable[[], datetime] = now_utc,
) -> tuple[str, StoredKey]:
    """Add a key; the key itself, and what is kept of it.

    Raises KeyFileError if the name is taken or unusable, OSError if the file cannot be written.
    """
    if _NAME.fullmatch(name) is None:
        raise KeyFileError(
            f"{name!r} is no name for a key: 1 to 64 letters, digits and . _ @ -, a letter or digit first"
        )
    key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
    made = StoredKey(
        name, hash_of(key), scopes, quotas, clock().replace(microsecond=0), expires, model, prompt
    )

    def add(keys: list[StoredKey]) -> list[StoredKey]:
        if name == ENVIRONMENT or any(one.name == name for one in keys):
            raise KeyFileError(f"there is a key {name!r} already; revoke it first, or take another name")
        return [*keys, made]

    _change(file, add)
    return key, made


def revoke(file: Path, name: str) -> None:
    """Remove a key: a running host refuses it from now on. Raises KeyFileError if there is none, OSError."""

    def remove(keys: list[StoredKey]) -> list[StoredKey]:
        kept = [one for one in keys if one.name != name]
        if len(kept) == len(keys):
            names = ", ".join(one.name for one in keys) or "none"
            raise KeyFileError(f"no key {name!r}; there is {names}")
        return kept

    _change(file, remove)


def stored(file: Path) -> list[StoredKey]:
    """The keys in the file; none where there is no file. Raises KeyFileError."""
    return read_keys(file) if file.exists() else []


def _change(file: Path, change: Callable[[list[StoredKey]], list[StoredKey]]) -> None:
    with locked(file.with_name(file.name + ".lock")):
        keys = change(stored(file))
        with contextlib.suppress(FileNotFoundError):
            file.chmod(0o600)  # a file of other origin may be open to others; the new one takes its mode
        content = msgspec.json.format(msgspec.json.encode(KeyFile(keys), order="sorted"), indent=2)
        write_whole(file, content + b"\n")
