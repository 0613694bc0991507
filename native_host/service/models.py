"""`models.*`: which models there are, what they are, loading and unloading them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from native_host.models.estimate import estimate
from native_host.models.inspection import Inspections, inspect_file, size_of
from native_host.models.load_options import options_of, refuse_unusable
from native_host.models.manager import ModelManager
from native_host.models.memory import machine_leftover
from native_host.models.spec import ModelSpec, memory_limit
from native_host.protocol import errors
from native_host.protocol.errors import RpcError
from native_host.protocol.messages import (
    ModelInspection,
    ModelListing,
    ModelsEstimateParams,
    ModelsEstimateResult,
    ModelsInspectParams,
    ModelsLoadParams,
    ModelsLoadResult,
    ModelsUnloadParams,
    NoParams,
)
from native_host.service.context import RequestContext
from native_host.service.reporting import Reporter
from native_host.units import seconds_of
from native_host.workers.capabilities import gguf_capabilities
from native_host.workers.messages import LoadOptions

T = TypeVar("T")

_NAMED = ("name", "architecture", "parameters", "context_length", "vocab_size", "chat_template", "size_bytes")


class ModelsService:
    """Handlers for the registry's models."""

    def __init__(self, manager: ModelManager) -> None:
        self._manager = manager
        self._inspections = Inspections()

    async def list(self, params: NoParams, context: RequestContext) -> list[ModelListing]:
        """All models of the registry in its order."""
        specs = self._manager.registry.specs()
        said = await asyncio.gather(*(self._said(spec) for spec in specs))
        # Nothing is awaited from here on: all models are told as they are at one moment.
        return [self._listing(spec, facts) for spec, facts in zip(specs, said, strict=True)]

    async def inspect(self, params: ModelsInspectParams, context: RequestContext) -> ModelInspection:
        """What a model's file says about itself, and what llama.cpp says it can do."""
        path = self._path(params)
        said = await inspect_file(path)
        return _inspection(path, said | await _able(path, said))

    async def estimate(self, params: ModelsEstimateParams, context: RequestContext) -> ModelsEstimateResult:
        """How much memory a model would take; what is given overrides its entry."""
        spec = self._manager.registry.resolve(params.model)
        options = msgspec.structs.replace(options_of(spec), **_given(params))
        refuse_unusable(spec, options)
        foreseen = await estimate(spec, options)
        return ModelsEstimateResult(
            model=spec.name,
            weights_bytes=foreseen.weights_bytes,
            kv_bytes=foreseen.kv_bytes,
            compute_bytes=foreseen.compute_bytes,
            total_bytes=foreseen.total_bytes,
            fits=foreseen.peak_bytes <= await asyncio.to_thread(machine_leftover),
        )

    async def load(self, params: ModelsLoadParams, context: RequestContext) -> ModelsLoadResult:
        """Load a model now; what is given overrides its entry this once."""
        spec = self._manager.registry.resolve(params.model)
        options, keep_alive_s = _overridden(spec, params)
        async with Reporter(context) as reporter:
            lease = await self._manager.load(spec.name, options, reporter.loading, keep_alive_s)
        return ModelsLoadResult(
            model=spec.name,
            context_length=lease.worker.info.context_length,
            load_ms=lease.load_ms,
            memory_bytes=self._manager.status(lease.spec).memory_bytes,
        )

    async def unload(self, params: ModelsUnloadParams, context: RequestContext) -> None:
        """Give a model's memory back once its requests are answered, or at once with `force`."""
        await self._manager.unload(params.model, params.force)

    def _path(self, params: ModelsInspectParams) -> Path:
        if params.path is not None:
            if params.model is not None:
                raise errors.invalid_params("path", "give model or path, not both")
            return _expanded(params.path)
        spec = self._manager.registry.resolve(params.model)
        refuse_unusable(spec)
        if spec.file is None:
            raise errors.unsupported(f"models.inspect for {spec.format} models: a server has their files")
        return spec.file

    async def _said(self, spec: ModelSpec) -> dict[str, Any]:
        """What a model's file says of itself; nothing for files that say nothing, or are not there."""
        said = await self._inspections.look(spec.file) if spec.format == "gguf" and spec.file else None
        return said or {}

    def _listing(self, spec: ModelSpec, said: dict[str, Any]) -> ModelListing:
        status = self._manager.status(spec)
        context_length = spec.entry.context_length or said.get("context_length")
        return ModelListing(
            name=spec.name,
            format=spec.format,
            type=spec.type,
            state=status.state,
            size_bytes=size_of(spec.stored) if spec.stored is not None else None,
            memory_bytes=status.memory_bytes,
            requests=status.requests,
            unload_in_s=None if status.idle_left_s is None else round(status.idle_left_s, 1),
            pinned=spec.entry.pinned,
            default=spec is self._manager.registry.resolve(None),
            context_length=status.worker.info.context_length if status.worker else context_length,
            capabilities=(status.worker and status.worker.info.capabilities) or _capabilities(spec, said),
        )


def _overridden(spec: ModelSpec, params: ModelsLoadParams) -> tuple[LoadOptions | None, float | None]:
    """The options to load with and the seconds to stay unused, `None` where nothing differs from the entry.

    Raises invalid_params.
    """
    given = _given(params)
    keep_alive = given.pop("keep_alive", None)
    if "max_memory" in given:
        given["max_memory"] = _read("max_memory", memory_limit, given["max_memory"])
    options = msgspec.structs.replace(options_of(spec), **given) if given else None
    return options, None if keep_alive is None else _read("keep_alive", seconds_of, keep_alive)


def _read(param: str, read: Callable[[Any], T], value: object) -> T:
    """A size or a time as a param has it. Raises invalid_params."""
    try:
        return read(value)
    except ValueError as error:
        raise errors.invalid_params(param, str(error)) from None


def _given(params: ModelsLoadParams | ModelsEstimateParams) -> dict[str, Any]:
    """The load options among the params that were given."""
    given = msgspec.structs.asdict(params)
    return {key: value for key, value in given.items() if key != "model" and value is not None}


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # `~somebody` whom this system does not know
        raise errors.invalid_model_file(path, str(error)) from None


def _capabilities(spec: ModelSpec, said: dict[str, Any]) -> list[str]:
    """The methods that a model can serve, before it is loaded; none where nothing is known of its file."""
    if spec.format != "gguf" or not said:
        return []
    can = gguf_capabilities(said["kind"], said["pooling"], said.get("chat_template") is not None)
    reads = spec.entry.backend in (None, "gguf")
    return [method for method in can if reads or method not in ("embed", "rerank")]


async def _able(path: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Whether answers can go on when their context is full; nothing for files that cannot be planned."""
    if said["kind"] != "generative" or not said["loadable"]:
        return {}
    try:
        return {"context_shift": (await estimate(path, LoadOptions())).context_shift}
    except RpcError:  # its load says why
        return {}


def _inspection(path: Path, said: dict[str, Any]) -> ModelInspection:
    named = {key: said[key] for key in _NAMED if key in said}
    details = {
        key: value for key, value in said.items() if key not in named and key != "path" and value is not None
    }
    return ModelInspection(
        format="gguf", file=str(path), quantization=said.get("file_type"), details=details, **named
    )
