"""Gateways for tests: real processes with real models, and one in this process with a toy service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from end_to_end.conftest import make_model
from openai import OpenAI
from toy_service import ToyService

from native_host.guard.handshake import AuthPolicy, TelegramAccess
from native_host.guard.keys import KeyStore
from native_host.http_address import HttpAddress
from native_host.settings import Settings
from native_host.transports.gateway.server import HttpServer
from native_host.transports.host import Handler, Host

from .spawning import Served, served


@pytest.fixture(scope="session")
def gateway_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `models.json`: the built-in model by default, `tiny` of random weights, `slow` that can be caught."""
    folder = tmp_path_factory.mktemp("gateway-models")
    make_model(folder / "tiny.gguf", "tiny")
    make_model(folder / "slow.gguf", "135m")
    models = {
        "tiny": {"type": "gguf", "path": "tiny.gguf", "threads": 1, "aliases": ["small"]},
        "slow": {"type": "gguf", "path": "slow.gguf", "threads": 1},
    }
    file = folder / "models.json"
    file.write_text(json.dumps({"default": "tabagent-demo", "models": models}))
    return file


@pytest.fixture(scope="session")
def gateway(gateway_models: Path) -> Iterator[Served]:
    """One for all tests that change nothing; this machine's programs need no key."""
    with served(gateway_models) as found:
        yield found


@pytest.fixture
def openai(gateway: Served) -> Iterator[OpenAI]:
    """The official client."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0, timeout=100) as client:
        yield client


class ToyGateway:
    """A gateway in this process, on a real port, with a toy service behind it."""

    def __init__(
        self,
        settings: Settings | None = None,
        keys: KeyStore | None = None,
        secret: bytes | None = None,
        *,
        handler: Handler | None = None,
        telegram: TelegramAccess | None = None,
    ) -> None:
        self.service = ToyService()
        policy = AuthPolicy(secret, keys, telegram=telegram)
        self.host = Host(handler or self.service, settings or Settings(open_loopback=True), policy)
        self.server = HttpServer(self.host, HttpAddress("127.0.0.1", 0))

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.server.address.url

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection to it."""
        return await asyncio.open_connection(self.server.address.host, self.server.address.port)

    async def __aenter__(self) -> ToyGateway:
        await self.server.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()


@pytest.fixture
async def toy() -> AsyncIterator[ToyGateway]:
    """With default settings, open to this machine."""
    async with ToyGateway() as found:
        yield found
