"""Writes models into a `models.json`, changes them, and takes them out, without touching what else it
holds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from native_host.models.json_edit import Value, with_members
from native_host.models.registry import RegistryError
from native_host.models.spec import ModelEntry
from native_host.platform.whole_files import locked, write_whole


def add(file: Path, entries: dict[str, ModelEntry]) -> None:
    """Add entries, or replace those of the same names. Raises RegistryError and OSError."""
    if not entries:
        return
    with locked(_lock(file)):
        document = _read(file)
        document["models"].update({name: msgspec.to_builtins(entry) for name, entry in entries.items()})
        _write(file, document)


def lists(file: Path, name: str) -> bool:
    """Whether it has an entry of this name. Raises as `add`."""
    return name in _read(file)["models"]


def remove(file: Path, name: str) -> None:
    """Take an entry out if it is there, and the default if it was that. Raises as `add`."""
    if not file.is_file():
        return
    with locked(_lock(file)):
        document = _read(file)
        if document["models"].pop(name, None) is None:
            return
        if document.get("default") == name:
            del document["default"]
        _write(file, document)


def set_keys(file: Path, name: str, keys: Mapping[str, Value]) -> None:
    """Give an entry these keys; all else in the file stays as it is written. Raises RegistryError and
    OSError.
    """
    with locked(_lock(file)):
        try:
            edited = with_members(file.read_bytes().decode(), ("models", name), keys)
        except KeyError as error:
            raise RegistryError(file, f"has no entry {name!r}") from error
        except ValueError as error:
            raise RegistryError(file, f"is not JSON: {error}") from error
        write_whole(file, edited.encode())


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"models": {}}
    except ValueError as error:
        raise RegistryError(file, f"is not JSON, so nothing can be added to it: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.setdefault("models", {}), dict):
        raise RegistryError(file, 'has no {"models": {…}}, so nothing can be added to it')
    return document


def _write(file: Path, document: dict[str, Any]) -> None:
    write_whole(file, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")


def _lock(file: Path) -> Path:
    return file.with_name(file.name + ".lock")
