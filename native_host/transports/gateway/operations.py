"""What each route takes and gives, for the document that describes them all, with an example of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from msgspec import Struct
from starlette.responses import Response

KEY = "operation"
"""Where a route keeps its operation, among what FastAPI lets routes have."""


class Operation(Struct, frozen=True, kw_only=True):
    """`body` and `answer` are types that msgspec knows (`answer` may be `str`, for plain text, or several
    types). `example` is a body that works as it stands, `answered` what it is answered. `streams` are the
    other media types that an answer can have, each with such an answer. `texts` are media types of bodies
    that are no JSON, each with such a body; their options stand in the address, as `query`, a struct, has
    them. `statuses` are those that only this route has.
    """

    answer: Any
    answered: object
    body: Any = None
    example: Any = None
    streams: Mapping[str, str] = {}
    texts: Mapping[str, str] = {}
    query: type[Struct] | None = None
    statuses: tuple[int, ...] = ()


def add(
    routes: APIRouter,
    paths: str | Iterable[str],
    endpoint: Callable[..., Awaitable[Response]],
    operation: Operation,
    method: str = "POST",
) -> None:
    """A route for each path. Its summary is the endpoint's docstring."""
    for path in [paths] if isinstance(paths, str) else paths:
        routes.add_api_route(
            path, endpoint, methods=[method], response_model=None, openapi_extra={KEY: operation}
        )
