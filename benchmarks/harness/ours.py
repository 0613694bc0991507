"""Our host, spawned as a parent spawns it, and spoken to over stdio."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from native_host.client import Host

NAME = "bench"
Key = str | int | None
"""A value of a key of `models.json`; None leaves the key out."""
Stream = Callable[[list[int], int], Iterator[float]]
"""(prompt's token ids, tokens to generate) to the times at which pieces of the answer arrived."""


@contextmanager
def spawned(model: Path, entry: Mapping[str, Key], env: Mapping[str, str] | None = None) -> Iterator[Host]:
    """A host whose registry holds this model, as `bench`, with these keys of `models.json`."""
    known = {name: value for name, value in entry.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder:
        registry = Path(folder) / "models.json"
        models = {NAME: {"type": "gguf", "path": str(model), **known}}
        registry.write_text(json.dumps({"models": models}), encoding="utf-8")
        with Host.spawn(models=registry, env=env) as host:
            yield host


@contextmanager
def streaming(model: Path, entry: Mapping[str, Key]) -> Iterator[Stream]:
    """The same, loaded, as a function that streams."""
    with spawned(model, entry) as host:
        host.load(NAME)
        yield lambda tokens, count: arrivals(host, tokens, count)


def arrivals(host: Host, tokens: list[int] | str, count: int) -> Iterator[float]:
    """When each piece of an answer of `count` tokens came."""
    stream = host.stream(tokens, model=NAME, max_tokens=count, temperature=0.0, ignore_eos=True)
    for _ in stream.pieces():
        yield time.perf_counter()


def decode_speed(host: Host, tokens: list[int] | str, count: int) -> float:
    """Tokens a second between the first piece and the last, by the client's clock."""
    stream = host.stream(tokens, model=NAME, max_tokens=count, temperature=0.0, ignore_eos=True, logprobs=0)
    return speed([(time.perf_counter(), len(piece.logprobs or ())) for piece in stream.pieces()])


def speed(came: list[tuple[float, int]]) -> float:
    """Tokens a second after the first arrival, from (when, how many) of each. Raises ValueError for a single
    arrival.
    """
    (first, _), *rest = came
    if not rest:
        raise ValueError("the whole answer came at once: ask for more tokens")
    return sum(count for _, count in rest) / (rest[-1][0] - first)


def first_token(host: Host, tokens: list[int] | str) -> float:
    """Seconds until the first token of an answer."""
    began = time.perf_counter()
    return next(arrivals(host, tokens, 1)) - began
