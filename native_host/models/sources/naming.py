"""Short names for models, made of what they were called where they come from."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from pathlib import Path

from native_host.models.sources.choice import quantization_of, unsplit
from native_host.models.sources.source import hub_source

_OTHER = re.compile(r"[^a-z0-9._-]+")


def name_of_repository(repo: str) -> str:
    """`Owner/Some-Model-GGUF` is `some-model`."""
    return plain_name(repo.rpartition("/")[2].lower().removesuffix("-gguf"))


def name_of_file(path: Path) -> str:
    """`Some-Model-Q4_K_M.gguf` is `some-model`; a folder's name is its own."""
    name = unsplit(path.name)
    label = quantization_of(path.name)
    if label is not None and name.upper().endswith(label) and len(name) > len(label):
        name = name[: -len(label)].rstrip("-._")
    return plain_name(name.lower())


def name_of(source: str, path: Path) -> str:
    """The name of a pulled model."""
    hub = hub_source(source) if source.startswith("hf:") else None
    return name_of_repository(hub.repo) if hub is not None else name_of_file(path)


def free_name(name: str, path: Path, taken: Container[str]) -> str:
    """The name, or one like it that nobody has."""
    return next(each for each in _variants(name, path) if each not in taken)


def _variants(name: str, path: Path) -> Iterator[str]:
    yield name
    label = quantization_of(path.name)
    if label is not None:
        yield f"{name}-{label.lower()}"
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def plain_name(name: str) -> str:
    """Only lower-case letters, digits, dots, underlines and dashes."""
    return _OTHER.sub("-", name.lower()).strip("-._") or "model"
