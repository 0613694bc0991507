"""What requests mean, one file a method family. Knows no transport."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from native_host.models.manager import ModelManager
from native_host.protocol import errors
from native_host.protocol.messages import ChatResult, GenerateResult
from native_host.service.context import RequestContext
from native_host.service.embedding import EmbeddingService
from native_host.service.generation import GenerationService
from native_host.service.metrics import MetricsService
from native_host.service.models import ModelsService
from native_host.service.prompts import Prompts
from native_host.service.recommending import RecommendingService
from native_host.service.response_cache import ResponseCache
from native_host.service.sessions import SessionsService
from native_host.service.sources import SourcesService
from native_host.service.streams import Hold, Streams, hold_nothing
from native_host.service.system import SystemService
from native_host.service.text import TextService
from native_host.store import MemoryStore, Store
from native_host.telemetry.metrics import Counters

_MIB = 1 << 20

Answer = msgspec.Struct | list[Any] | str | None
Handler = Callable[[Any, RequestContext], Awaitable[Answer]]


class Service:
    """Answers every method that has to do with models or with the machine."""

    def __init__(
        self,
        manager: ModelManager,
        sessions: Store | None = None,
        responses: Store | None = None,
        counters: Counters | None = None,
        prompts: Prompts | None = None,
        hold: Hold = hold_nothing,
    ) -> None:
        """`sessions` and `responses` are where those are kept: in this process's memory unless given;
        `counters` what `metrics` tells beside the models; `prompts` are the named ones, those that ship with
        the host unless given; `hold` counts work that goes on while its peer is away.
        """
        prompts = prompts or Prompts(manager)
        generation = GenerationService(manager)
        cache = ResponseCache(manager, responses or MemoryStore(32 * _MIB, 10_000, 1 * _MIB))
        conversations = SessionsService(
            manager,
            sessions or MemoryStore(64 * _MIB, 10_000, 4 * _MIB),
            prompts.before(cache.before(generation.chat, ChatResult)),
            prompts,
        )
        text = TextService(manager)
        vectors = EmbeddingService(manager)
        models = ModelsService(manager)
        system = SystemService()
        recommending = RecommendingService(manager)
        self._streams = Streams(hold=hold)
        self._sources = SourcesService(manager)
        self._manager = manager
        self._handlers: dict[str, Handler] = {
            "generate": self._streams.before(cache.before(generation.generate, GenerateResult)),
            "chat": self._streams.before(conversations.chat),
            "streams.resume": self._streams.resume,
            "sessions.create": conversations.create,
            "sessions.get": conversations.get,
            "sessions.list": conversations.list,
            "sessions.delete": conversations.delete,
            "embed": vectors.embed,
            "rerank": vectors.rerank,
            "tokenize": text.tokenize,
            "detokenize": text.detokenize,
            "models.apply_template": text.apply_template,
            "models.list": models.list,
            "models.inspect": models.inspect,
            "models.estimate": models.estimate,
            "models.load": models.load,
            "models.unload": models.unload,
            "models.pull": self._sources.pull,
            "models.import": self._sources.take_over,
            "models.delete": self._sources.delete,
            "models.recommend": recommending.recommend,
            "hardware.info": system.hardware_info,
            "metrics": MetricsService(manager, models, counters or Counters()).metrics,
        }

    async def handle(self, method: str, params: msgspec.Struct, context: RequestContext) -> Answer:
        """Answer one request with its result. Raises RpcError."""
        handler = self._handlers.get(method)
        if handler is None:
            raise errors.method_not_found(method)
        return await handler(params, context)

    def problems(self, name_files: bool) -> list[str]:
        """What is wrong, for `health`; where files lie only if `name_files`."""
        return self._manager.problems(name_files)

    @property
    def working(self) -> bool:
        """Whether there is something to do for nobody's request: streams whose peers may come back."""
        return self._streams.kept

    async def load_pinned(self) -> None:
        """Load the models that a daemon is to have from the start."""
        await self._manager.load_pinned()

    async def stop(self) -> None:
        """End all workers and pulls, within a second."""
        await asyncio.gather(self._streams.stop(), self._sources.stop(), self._manager.stop())
