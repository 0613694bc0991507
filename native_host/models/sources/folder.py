"""Models in a folder and the folders in it, whoever put them there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from native_host.models.sources.choice import is_model_file
from native_host.models.sources.found import FoundModel
from native_host.models.sources.naming import name_of_file, name_of_repository
from native_host.models.sources.on_disk import folder_format
from native_host.models.spec import ModelEntry

MAX_DEPTH = 8


def models_in(top: Path, repository: str | None = None) -> list[FoundModel]:
    """All models, by path. With a `repository` they have its name, else that of their file or folder.

    What cannot be read is passed over, and folders behind links are not entered.
    """
    return list(_walk(top, repository))


def _walk(top: Path, repository: str | None) -> Iterator[FoundModel]:
    for path, folders, files in os.walk(top):
        folder = Path(path)
        folders.sort()
        if len(folder.relative_to(top).parts) >= MAX_DEPTH:
            folders.clear()
        weights = folder_format(folder)
        if weights is not None:
            folders.clear()
            name = name_of_repository(repository) if repository else name_of_file(folder.absolute())
            yield FoundModel(name, ModelEntry(path=str(folder), type=weights))
        for file in sorted(files):
            if is_model_file(file):
                name = name_of_repository(repository) if repository else name_of_file(Path(file))
                yield FoundModel(name, ModelEntry(path=str(folder / file), type="gguf"))
