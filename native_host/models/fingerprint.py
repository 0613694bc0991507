"""Tells whether two answers of a model came from the same weights, opened in the same way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from native_host.models.spec import ModelSpec
from native_host.workers.messages import LoadOptions


def fingerprint(spec: ModelSpec, options: LoadOptions) -> str | None:
    """Equal for equal files (by place, size and time of change), entries and options; `None` where nobody
    here can know: a server's model, or one that is not here.
    """
    if spec.remote or spec.stored is None:
        return None
    places = [spec.stored, *(Path(adapter.path) for adapter in spec.adapters)]
    try:
        files = [(str(file), *_state(file)) for place in places for file in _files(place)]
    except OSError:
        return None
    told = msgspec.json.encode([files, spec.entry, options], order="deterministic")
    return hashlib.sha256(told).hexdigest()


def _files(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.is_dir() else [place]


def _state(file: Path) -> tuple[int, int, int]:
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
