"""A pull from beginning to end: which files, is there room, fetch what is missing, keep a record.

Blocking, for a process of its own (`child`) or a script (`cache`).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from native_host.models.sources import hub
from native_host.models.sources.checksum import Checksum
from native_host.models.sources.choice import Choice, NothingToChooseError, choose
from native_host.models.sources.source import HubSource, RemoteSource, WebSource
from native_host.models.sources.store import Pulled, PulledFile, Shelf, Store
from native_host.models.sources.transfer import RemoteFile, fetch
from native_host.models.sources.trouble import Trouble

RESERVE_BYTES = 64 << 20
"""What a download leaves free on the disk."""

_TELL_EVERY_S = 0.1


class Step(msgspec.Struct, frozen=True, tag="step"):
    """How far a pull is, in bytes of all its files; `total` is 0 before it is known."""

    message: str
    done: int = 0
    total: int = 0


class Downloaded(msgspec.Struct, frozen=True, tag="downloaded"):
    """A model that lies here now; `fetched_bytes` is what this pull had to fetch of it."""

    pulled: Pulled
    folder: str
    fetched_bytes: int

    @property
    def path(self) -> Path:
        """What models.json is to name."""
        return Shelf(Path(self.folder)).model_path(self.pulled)

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.pulled.files)


OnStep = Callable[[Step], None]


def download(source: RemoteSource, store: Store, on_step: OnStep) -> Downloaded:
    """Have a model on this machine. One that is here in its newest state costs one question to the hub, and
    none with HF_HUB_OFFLINE. Raises download_failed.
    """
    try:
        shelf = store.shelf(source)
        try:
            with shelf.alone(lambda: on_step(Step("another process is fetching it; waiting"))):
                if isinstance(source, WebSource):
                    return _from_web(source, shelf, on_step)
                return _from_hub(source, shelf, store, on_step)
        except OSError as error:
            raise Trouble(f"{shelf.folder}: {error.strerror or error}", resumable=False) from error
    except Trouble as trouble:
        raise trouble.about(source) from trouble


def _from_hub(source: HubSource, shelf: Shelf, store: Store, on_step: OnStep) -> Downloaded:
    if hub.offline():
        return _what_is_here(source, shelf, store)
    on_step(Step(f"looking at {source.repo}"))
    repository = hub.look_up(source.repo)
    try:
        choice = choose(list(repository.files), source.wanted)
    except NothingToChooseError as error:
        raise Trouble(f"{source.repo}: {error}", resumable=False) from error
    headers = hub.headers()
    wanted = [
        RemoteFile(file.path, hub.address(repository, file.path), file.checksum, file.size, headers)
        for file in (repository.files[path] for path in choice.files)
    ]
    pulled = _pulled(source, choice, repository)
    return _fetch_all(wanted, pulled, shelf, on_step)


def _pulled(source: HubSource, choice: Choice, repository: hub.Repository) -> Pulled:
    files = [repository.files[path] for path in choice.files]
    return Pulled(
        source=f"hf:{source.repo}:{choice.label}",
        label=choice.label,
        format=choice.format,
        model=choice.model,
        files=[PulledFile(file.path, file.size, file.checksum) for file in files],
        commit=repository.commit,
    )


def _what_is_here(source: HubSource, shelf: Shelf, store: Store) -> Downloaded:
    path = store.find(str(source))
    owner = store.owner(path) if path is not None else None
    if owner is None:
        raise Trouble("HF_HUB_OFFLINE is set, and it is not on this machine", resumable=True)
    return Downloaded(owner[1], str(shelf.folder), 0)


def _from_web(source: WebSource, shelf: Shelf, on_step: OnStep) -> Downloaded:
    name = source.file_name
    if not name.lower().endswith(".gguf"):
        raise Trouble("only a GGUF file is a model by itself; its address must end in .gguf", resumable=False)
    known = shelf.record("gguf")
    if known is not None and known.model == name:
        return Downloaded(known, str(shelf.folder), 0)
    checksum = Checksum("sha256", source.sha256)
    remote = RemoteFile(name, source.url, checksum)
    on_step(Step(f"fetching {name}"))
    fetched = _fetch_missing([remote], shelf, on_step)
    size = (shelf.folder / name).stat().st_size
    pulled = Pulled(str(source), "gguf", "gguf", name, [PulledFile(name, size, checksum)])
    shelf.keep(pulled)
    return Downloaded(pulled, str(shelf.folder), fetched)


def _fetch_all(wanted: list[RemoteFile], pulled: Pulled, shelf: Shelf, on_step: OnStep) -> Downloaded:
    known = {file.path: file.checksum for record in shelf.records() for file in record.files}
    missing = [remote for remote in wanted if not _is_here(remote, shelf, known)]
    _require_room(missing, shelf)
    fetched = _fetch_missing(missing, shelf, on_step)
    shelf.keep(pulled)
    return Downloaded(pulled, str(shelf.folder), fetched)


def _is_here(remote: RemoteFile, shelf: Shelf, known: Mapping[str, Checksum]) -> bool:
    """By its record; a file without one (a pull that was broken off has none) is read to the end."""
    file = shelf.folder / remote.name
    if not file.is_file() or file.stat().st_size != remote.size:
        return False
    return known.get(remote.name) == remote.checksum or remote.checksum.matches(file)


def _require_room(missing: list[RemoteFile], shelf: Shelf) -> None:
    needed = 0
    for remote in missing:
        part = shelf.part(remote.checksum)
        needed += max(0, (remote.size or 0) - (part.stat().st_size if part.is_file() else 0))
    free = shutil.disk_usage(shelf.folder).free
    if needed and needed + RESERVE_BYTES > free:
        raise Trouble(
            f"{needed:,} bytes are to come and the disk of {shelf.folder} has {free:,} free "
            f"({RESERVE_BYTES:,} stay free)",
            resumable=True,
        )


def _fetch_missing(missing: list[RemoteFile], shelf: Shelf, on_step: OnStep) -> int:
    """Fetch files one after the other; how many bytes came over the network."""
    from huggingface_hub import get_session

    meter = _Meter(on_step, sum(remote.size or 0 for remote in missing))
    for remote in missing:
        meter.next_file(remote.name)
        fetch(get_session(), remote, shelf.part(remote.checksum), shelf.folder / remote.name, meter.tell)
    meter.end()
    return meter.fetched


class _Meter:
    """Adds the files up and tells of it, not too often."""

    def __init__(self, on_step: OnStep, total: int) -> None:
        self.fetched = 0
        self._on_step = on_step
        self._total = total
        self._before = 0
        self._here = 0
        self._first: int | None = None
        self._name = ""
        self._told = 0.0

    def next_file(self, name: str) -> None:
        self._before += self._here
        self._here = 0
        self._first = None
        self._name = name

    def tell(self, have: int) -> None:
        """A file's bytes so far; its first figure is what an earlier attempt left."""
        if self._first is None:
            self._first = have
        self.fetched += max(0, have - max(self._here, self._first))
        self._here = have
        now = time.monotonic()
        if now - self._told >= _TELL_EVERY_S:
            self._told = now
            self._say()

    def end(self) -> None:
        """The last word, whenever the one before it was."""
        self._say()

    def _say(self) -> None:
        self._on_step(
            Step(
                f"fetching {self._name}" if self._name else "all is here",
                self._before + self._here,
                self._total,
            )
        )
