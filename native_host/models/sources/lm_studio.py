"""Models that LM Studio has downloaded: `MODELS/PUBLISHER/REPO/FILE.gguf`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from native_host.models.sources.folder import models_in
from native_host.models.sources.found import FoundModel


def folders() -> list[Path]:
    """Where it may keep them: as its settings say, else in the places of its newer and its older releases."""
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, UnicodeDecodeError):
        pointer = (Path.home() / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
        homes.insert(0, Path(pointer))
    found = []
    for home in homes:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            settings = json.loads((home / "settings.json").read_text(encoding="utf-8"))
            found.append(Path(settings.get("downloadsFolder")))
        found.append(home / "models")
    return list(dict.fromkeys(found))


def find(models: Path) -> list[FoundModel]:
    """All of them; without the pictures' half of models that take pictures."""
    return models_in(models)
