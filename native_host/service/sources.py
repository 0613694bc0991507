"""`models.pull`: fetches a model and makes it one of the registry's, in memory and in the user's file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from native_host.models import user_file
from native_host.models.formats import Format
from native_host.models.inspection import size_of
from native_host.models.manager import ModelManager
from native_host.models.registry import RegistryError
from native_host.models.sources.download import Step
from native_host.models.sources.naming import free_name, name_of
from native_host.models.sources.on_disk import format_at
from native_host.models.sources.pulls import Pulls
from native_host.models.sources.source import FileSource, parse_source
from native_host.models.sources.store import default_folder
from native_host.models.spec import ModelEntry
from native_host.platform.paths import config_dir
from native_host.protocol import errors
from native_host.protocol.messages import ModelsPullParams, ModelsPullResult
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
    try:
        user_file.add(file, entries)
    except RegistryError as error:
        raise errors.invalid_model_file(str(error.file), error.problem) from error
    except OSError as error:
        raise errors.invalid_model_file(
            str(file), f"cannot be written to: {error.strerror or error}"
        ) from error


def _progress(step: Step) -> Progress:
    counted = (step.done, step.total) if step.total else None
    fraction = min(1.0, step.done / step.total) if step.total else None
    return Progress("pull", fraction, step.message, counted)
