"""Models in the cache that Hugging Face's libraries share: `models--OWNER--REPO/snapshots/COMMIT/…`."""

from __future__ import annotations

import os
from pathlib import Path

from native_host.models.sources.folder import models_in
from native_host.models.sources.found import FoundModel


def folders() -> list[Path]:
    """Where the cache may lie, by the variables that those libraries heed."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(variable):
            return [Path(named).expanduser()]
    if home := os.environ.get("HF_HOME"):
        return [Path(home).expanduser() / "hub"]
    cache = os.environ.get("XDG_CACHE_HOME")
    return [(Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"]


def find(cache: Path) -> list[FoundModel]:
    """The newest snapshot of every repository."""
    found = []
    for repository in sorted(cache.glob("models--*--*")):
        snapshot = _newest(repository)
        if snapshot is not None:
            found += models_in(snapshot, "/".join(repository.name.split("--")[1:]))
    return found


def _newest(repository: Path) -> Path | None:
    """The snapshot that `main` points to, else the one that was made last."""
    snapshots = repository / "snapshots"
    try:
        main = snapshots / (repository / "refs" / "main").read_text(encoding="utf-8").strip()
        if main.is_dir() and main != snapshots:
            return main
    except (OSError, ValueError):
        pass
    every = [each for each in snapshots.glob("*") if each.is_dir()]
    return max(every, key=lambda each: each.stat().st_mtime, default=None)
