"""The process that a host pulls in: `python -m native_host.models.sources.child`.

It reads one `Order` from its standard input, which stays open as its life line, and writes `Step`s and then
one `Downloaded` or `Refused` to its standard output, a line of JSON each. In a process of its own a pull can
be stopped at any moment, and neither what it imports nor what it computes burdens the host.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from native_host.models.sources.download import Downloaded, Step, download
from native_host.models.sources.source import HubSource, WebSource
from native_host.models.sources.store import Store
from native_host.platform.life_line import exit_with_host
from native_host.protocol.errors import RpcError


class Order(msgspec.Struct, frozen=True):
    """What to pull, and into which folder."""

    source: HubSource | WebSource
    folder: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """The error that the pull ended with."""

    code: int
    message: str
    data: dict[str, Any]


Word = Step | Downloaded | Refused
"""A line of the child's output."""


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    exit_with_host(sys.stdin.fileno())
    try:
        say(download(order.source, Store(Path(order.folder)), say))
    except RpcError as error:
        say(Refused(error.code, error.message, error.data))


def say(word: Word) -> None:
    """One line."""
    sys.stdout.buffer.write(msgspec.json.encode(word) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
