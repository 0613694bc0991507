"""The Python client: spawn a host or connect to one, and ask it things, with threads or with asyncio.

with Host.spawn() as host:
    for piece in host.chat("What is a runtime pack?"):
        print(piece, end="", flush=True)

async with AsyncHost.spawn() as host:
    print((await host.generate("Once upon a time", max_tokens=40)).text)
"""

from typing import TYPE_CHECKING

from native_host.client.asking import (
    Adapter,
    ChatOptions,
    Generated,
    GeneratedMany,
    LoadOptions,
    MemoryOptions,
    Options,
)
from native_host.client.errors import BrokenStream, ClientError, HandshakeError, HostDied, HostTimeout
from native_host.client.forms import ResponseFormat
from native_host.client.host import Host
from native_host.client.session import Piece, Progress
from native_host.client.stream import Stream
from native_host.client.tools import Tool
from native_host.protocol.errors import RpcError

if TYPE_CHECKING:
    from native_host.client.async_host import AsyncHost
    from native_host.client.async_stream import AsyncStream

__all__ = [
    "Adapter",
    "AsyncHost",
    "AsyncStream",
    "BrokenStream",
    "ChatOptions",
    "ClientError",
    "Generated",
    "GeneratedMany",
    "HandshakeError",
    "Host",
    "HostDied",
    "HostTimeout",
    "LoadOptions",
    "MemoryOptions",
    "Options",
    "Piece",
    "Progress",
    "ResponseFormat",
    "RpcError",
    "Stream",
    "Tool",
]


def __getattr__(name: str) -> object:
    """What is for asyncio is imported when it is first used: that takes as long as all the rest."""
    if name == "AsyncHost":
        from native_host.client.async_host import AsyncHost

        return AsyncHost
    if name == "AsyncStream":
        from native_host.client.async_stream import AsyncStream

        return AsyncStream
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
