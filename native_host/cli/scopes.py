"""The options by which keys and grants are given scopes and quotas, and how both are shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from native_host.cli.output import without_controls
from native_host.protocol.identity import ALL_SCOPES, Quotas

NAMES = ", ".join(sorted(ALL_SCOPES))

RequestsPerMinute = Annotated[int | None, typer.Option(min=1, help="Requests in any 60 s.")]
TokensPerDay = Annotated[int | None, typer.Option(min=1, help="Tokens of prompts and answers in 24 h.")]
Concurrent = Annotated[int | None, typer.Option(min=1, help="Requests at once.")]


def read(named: list[str] | None) -> frozenset[str]:
    """The scopes that were named. Raises BadParameter for one that there is not."""
    unknown = [scope for scope in named or [] if scope not in ALL_SCOPES]
    if unknown:
        raise typer.BadParameter(f"no scope {unknown[0]!r}; there is {NAMES}", param_hint="--scope")
    return frozenset(named or ())


def shown(scopes: Iterable[str]) -> str:
    """Scopes in a table."""
    found = sorted(scopes)
    return "all" if found == sorted(ALL_SCOPES) else ", ".join(map(without_controls, found)) or "nothing"


def limits(quotas: Quotas) -> str:
    """Quotas in a table."""
    parts = (
        (quotas.requests_per_minute, "requests/min"),
        (quotas.tokens_per_day, "tokens/day"),
        (quotas.concurrent, "at once"),
    )
    return ", ".join(f"{amount:,} {unit}" for amount, unit in parts if amount is not None) or "–"
