"""Where pulled models lie, and what was pulled: a folder a repository, with records and parts beside it.

    FOLDER/hf/OWNER/REPO/…                        the files, under the names that the repository gives them
    FOLDER/web/SHA256/NAME                        a file from elsewhere
    …/.native-host/LABEL.json                     what a finished pull fetched: a `Pulled`
    …/.native-host/CHECKSUM.part                  what has arrived of a file
    …/.native-host/lock                           held by whoever fetches into the folder

The part's name is the checksum that the whole will have, so that two versions of a file never mix.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from native_host.models.formats import Format
from native_host.models.sources.checksum import Checksum
from native_host.models.sources.source import HubSource, RemoteSource, hub_source
from native_host.platform.paths import data_dir
from native_host.platform.whole_files import locked, write_whole

_ASIDE = ".native-host"
_VARIABLE = "MODEL_CACHE_DIR"


class PulledFile(msgspec.Struct, frozen=True):
    """One file of a pulled model; `path` counts from the folder, `size` is in bytes."""

    path: str
    size: int
    checksum: Checksum


class Pulled(msgspec.Struct, frozen=True):
    """A finished pull. `model` is what models.json is to name: a file, or a folder ("" is the folder
    itself)."""

    source: str
    label: str
    format: Format
    model: str
    files: list[PulledFile]
    commit: str | None = None


def default_folder() -> Path:
    """`MODEL_CACHE_DIR`, else the user's folder for data."""
    named = os.environ.get(_VARIABLE)
    return Path(named).expanduser().absolute() if named else data_dir() / "models"


class Shelf:
    """The folder of one repository, or of one file from elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def part(self, checksum: Checksum) -> Path:
        """Where a file arrives."""
        return self.folder / _ASIDE / f"{checksum.hex}.part"

    def records(self) -> list[Pulled]:
        """All finished pulls whose files are still there, by label."""
        found = []
        for file in sorted((self.folder / _ASIDE).glob("*.json")):
            with contextlib.suppress(OSError, msgspec.DecodeError):
                pulled = msgspec.json.decode(file.read_bytes(), type=Pulled)
                if all(_lies_there(self.folder / each.path, each.size) for each in pulled.files):
                    found.append(pulled)
        return found

    def record(self, label: str) -> Pulled | None:
        """The finished pull of this label."""
        return next((pulled for pulled in self.records() if pulled.label == label), None)

    def keep(self, pulled: Pulled) -> None:
        """Write the record of a finished pull. Raises OSError."""
        write_whole(self._record_file(pulled), msgspec.json.encode(pulled))

    def model_path(self, pulled: Pulled) -> Path:
        """The file or folder that models.json is to name."""
        return self.folder / pulled.model if pulled.model else self.folder

    def remove(self, pulled: Pulled) -> tuple[list[Path], int]:
        """Delete a pulled model but for files that another pull shares: what went, and how many bytes.

        Raises OSError.
        """
        others = {
            file.path for other in self.records() if other.label != pulled.label for file in other.files
        }
        self._record_file(pulled).unlink(missing_ok=True)
        removed, freed = [], 0
        for each in pulled.files:
            file = self.folder / each.path
            if each.path in others or not file.is_file():
                continue
            freed += file.stat().st_size
            file.unlink()
            removed.append(file)
            self._remove_empty(file.parent)
        if not self.records():
            self._remove_aside()
        return removed, freed

    @contextlib.contextmanager
    def alone(self, on_wait: Callable[[], None]) -> Iterator[None]:
        """Only one process fetches into the folder; `on_wait` is called if that is another one now."""
        (self.folder / _ASIDE).mkdir(parents=True, exist_ok=True)
        with locked(self.folder / _ASIDE / "lock", on_wait):
            yield

    def _record_file(self, pulled: Pulled) -> Path:
        return self.folder / _ASIDE / f"{pulled.label.replace('/', '_')}.json"

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.folder and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def _remove_aside(self) -> None:
        """Nothing is left but what was ours to begin with: parts, the lock, the folder."""
        for left in (self.folder / _ASIDE).iterdir():
            left.unlink()
        (self.folder / _ASIDE).rmdir()
        with contextlib.suppress(OSError):  # somebody else's files are in it
            self.folder.rmdir()


def _lies_there(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False


class Store:
    """All that was pulled on this machine, into one folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()

    def shelf(self, source: RemoteSource) -> Shelf:
        """The folder of a source."""
        if isinstance(source, HubSource):
            return Shelf(self.folder / "hf" / source.repo)
        return Shelf(self.folder / "web" / source.sha256[:16])

    def owner(self, path: Path) -> tuple[Shelf, Pulled] | None:
        """The pull that brought this file or folder, if one did."""
        for aside in (path, *path.parents):
            if aside == self.folder or not aside.is_relative_to(self.folder):
                return None
            shelf = Shelf(aside)
            for pulled in shelf.records():
                if shelf.model_path(pulled) == path:
                    return shelf, pulled
        return None

    def find(self, path: str, weights: Format | None = None) -> Path | None:
        """The pulled model that a `path` in models.json means (`owner/repo`, `hf:owner/repo:quant`)."""
        source = hub_source(path)
        if source is None:
            return None
        shelf = self.shelf(source)
        wanted = source.wanted.casefold() if source.wanted else None
        for pulled in shelf.records():
            names = (None, pulled.label.casefold(), pulled.model.casefold(), pulled.format)
            if wanted in names and weights in (None, pulled.format):
                return shelf.model_path(pulled)
        return None
