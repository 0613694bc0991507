"""`models.pull`, `models.import`, `models.delete`: models come to the registry and the user's file and go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from native_host.models import user_file
from native_host.models.formats import Format
from native_host.models.inspection import size_of
from native_host.models.manager import ModelManager
from native_host.models.registry import BUILTIN_FILE, RegistryError
from native_host.models.sources.download import Step
from native_host.models.sources.found import FoundModel
from native_host.models.sources.naming import free_name, name_of
from native_host.models.sources.on_disk import format_at
from native_host.models.sources.others import look
from native_host.models.sources.pulls import Pulls
from native_host.models.sources.source import FileSource, parse_source
from native_host.models.sources.store import Pulled, Shelf, Store, default_folder
from native_host.models.spec import ModelEntry, ModelSpec
from native_host.platform.paths import config_dir
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import (
    ImportedModel,
    ModelsDeleteParams,
    ModelsDeleteResult,
    ModelsImportParams,
    ModelsImportResult,
    ModelsPullParams,
    ModelsPullResult,
)
from native_host.service.context import RequestContext
from native_host.service.reporting import Progress, Reporter


class SourcesService:
    """Handlers that bring models to this machine."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._models_file = config_dir() / "models.json"
        self._pulls = Pulls(default_folder())
        self._writing = asyncio.Lock()

    async def pull(self, params: ModelsPullParams, context: RequestContext) -> ModelsPullResult:
        """Fetch a model, and add it to the registry."""
        source = parse_source(params.source)
        self._refuse_taken(params.name)
        if isinstance(source, FileSource):
            told, path, fetched = str(source), Path(source.path), 0
            size = await asyncio.to_thread(size_of, path) or 0
        else:
            async with Reporter(context) as reporter:
                done = await self._pulls.pull(source, lambda step: reporter.report(_progress(step)))
            told, path, fetched, size = done.pulled.source, done.path, done.fetched_bytes, done.size
        weights = await format_at(path)
        self._manager.reread()  # models.json may have named it before it was here
        async with self._writing:
            name = params.name or self._name_for(told, path)
            await self._register(name, weights, path)
        return ModelsPullResult(
            model=name,
            source=told,
            format=weights,
            path=str(path),
            size_bytes=size,
            fetched_bytes=fetched,
            models_file=str(self._models_file),
        )

    async def take_over(self, params: ModelsImportParams, context: RequestContext) -> ModelsImportResult:
        """Find what another program has downloaded, and add what is sound to the registry, where it lies."""
        try:
            found = await asyncio.to_thread(look, params.origin)
        except (OSError, RuntimeError) as error:
            raise errors.invalid_params("from", str(error)) from None
        async with self._writing:
            entries: dict[str, ModelEntry] = {}
            models = [await self._examine(model, entries) for model in found]
            if not params.dry_run:
                await asyncio.to_thread(_write, self._models_file, entries)
                self._manager.reread()
        return ModelsImportResult(models=models, dry_run=params.dry_run, models_file=str(self._models_file))

    async def delete(self, params: ModelsDeleteParams, context: RequestContext) -> ModelsDeleteResult:
        """Forget a model; its files go if a pull brought them and no other model is among them."""
        spec = self._manager.registry.resolve(params.model)
        if BUILTIN_FILE in (spec.file, spec.derived_from):
            raise errors.invalid_params("model", f"{spec.name!r} is built in and stays")
        requests = self._manager.status(spec).requests
        if requests and not params.force:
            problem = f"{spec.name!r} is in use ({requests} requests); `force` cancels them"
            raise errors.invalid_params("force", problem)
        owner = await asyncio.to_thread(Store().owner, spec.file) if spec.file is not None else None
        if owner is not None and self._pulls.busy(owner[0].folder):
            raise errors.invalid_params("model", f"{spec.name!r} is being pulled; cancel that first")
        async with self._writing:
            listed = await asyncio.to_thread(_lists, self._models_file, spec.name)
            if not listed and owner is None:
                raise errors.invalid_params(
                    "model", f"{spec.name!r} is of a models.json of yours; edit that one"
                )
            await self._manager.unload(spec.name, params.force)
            await asyncio.to_thread(_remove, self._models_file, spec.name)
            self._manager.reread()
            return await self._remove_files(spec, owner)

    async def _remove_files(self, spec: ModelSpec, owner: tuple[Shelf, Pulled] | None) -> ModelsDeleteResult:
        others = [other.name for other in self._manager.registry.specs() if other.file == spec.file]
        kept = None
        if owner is None:
            kept = f"{spec.file} was not pulled, so it is not ours to remove"
        elif set(others) - {spec.name}:
            kept = f"{', '.join(others)} uses the same files"
        if kept is not None or owner is None:
            return ModelsDeleteResult(model=spec.name, removed_files=[], freed_bytes=0, kept=kept)
        try:
            files, freed = await asyncio.to_thread(owner[0].remove, owner[1])
        except OSError as error:
            raise errors.invalid_model_file(
                str(spec.file), f"cannot be removed: {error.strerror or error}"
            ) from error
        self._manager.reread()
        return ModelsDeleteResult(
            model=spec.name, removed_files=[str(file) for file in files], freed_bytes=freed
        )

    async def _examine(self, model: FoundModel, entries: dict[str, ModelEntry]) -> ImportedModel:
        """Say what a found model is; a new one gets a place in `entries`."""
        told = ImportedModel(
            model=model.name,
            format=str(model.entry.type),
            path=model.entry.path,
            status="known",
            size_bytes=await asyncio.to_thread(size_of, model.path),
            notes=model.notes,
        )
        known = self._known(model)
        if known is not None:
            return msgspec.structs.replace(told, model=known)
        try:
            await format_at(model.path)
        except RpcError as error:
            return msgspec.structs.replace(told, status="unusable", problem=str(error.data.get("problem")))
        taken = {*entries, *(spec.name for spec in self._manager.registry.specs())}
        name = free_name(model.name, model.path, taken)
        entries[name] = model.entry
        return msgspec.structs.replace(told, model=name, status="added")

    def _known(self, model: FoundModel) -> str | None:
        """The registry's model that this is: by its file, and by its name too where more than the file
        counts."""
        for spec in self._manager.registry.specs():
            if spec.file == model.path and (model.plain or spec.name == model.name):
                return spec.name
        return None

    async def stop(self) -> None:
        """End what is being fetched; what arrived is kept."""
        await self._pulls.stop()

    def _name_for(self, source: str, path: Path) -> str:
        """That of the registry's model that lies there, else a new one."""
        specs = self._manager.registry.specs()
        known = next((spec.name for spec in specs if spec.file == path), None)
        return known or free_name(name_of(source, path), path, {spec.name for spec in specs})

    async def _register(self, name: str, weights: Format, path: Path) -> None:
        """Make it a model of the registry and of the user's file.

        Raises invalid_params and invalid_model_file.
        """
        held = self._manager.registry.get(name)
        if held is not None and held.file != path:
            raise _taken(name)
        if held is None:
            entry = ModelEntry(path=str(path), type=weights)
            await asyncio.to_thread(_write, self._models_file, {name: entry})
            self._manager.reread()

    def _refuse_taken(self, name: str | None) -> None:
        """Before anything is fetched: a name whose model lies where no pull would put it."""
        held = self._manager.registry.get(name) if name is not None else None
        if held is None or not held.present() or held.file is None:
            return
        if not held.file.is_relative_to(default_folder()):
            raise _taken(held.name)


def _taken(name: str) -> errors.RpcError:
    problem = f"{name!r} is another model already; give another name, or delete that one first"
    return errors.invalid_params("name", problem)


def _write(file: Path, entries: dict[str, ModelEntry]) -> None:
    with _told(file):
        user_file.add(file, entries)


def _lists(file: Path, name: str) -> bool:
    with _told(file):
        return user_file.lists(file, name)


def _remove(file: Path, name: str) -> None:
    with _told(file):
        user_file.remove(file, name)


@contextlib.contextmanager
def _told(file: Path) -> Iterator[None]:
    """Turn what can be wrong with the user's file into an error for the peer."""
    try:
        yield
    except RegistryError as error:
        raise errors.invalid_model_file(str(error.file), error.problem) from error
    except OSError as error:
        problem = f"cannot be written to: {error.strerror or error}"
        raise errors.invalid_model_file(str(file), problem) from error


def _progress(step: Step) -> Progress:
    counted = (step.done, step.total) if step.total else None
    fraction = min(1.0, step.done / step.total) if step.total else None
    return Progress("pull", fraction, step.message, counted)
