"""`native-host grants`: what browsers' extensions may do. A running host heeds a change at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from native_host.cli import scopes
from native_host.cli.edge import CommandFailed, edged
from native_host.cli.options import Json, Models
from native_host.cli.output import err, out, print_json, without_controls
from native_host.guard import grant_file
from native_host.guard.grants import DEFAULT_SCOPES, Grant, GrantFileError, Grants
from native_host.platform.paths import grants_file
from native_host.protocol.identity import Quotas
from native_host.transports.browser import origin_of

grants_app = typer.Typer(no_args_is_help=True, help="List, give and revoke what browsers' extensions may do.")

DEFAULT = ", ".join(sorted(DEFAULT_SCOPES))
Origin = Annotated[
    str,
    typer.Argument(help="The extension: its id, or its origin (chrome-extension://ID/).", show_default=False),
]


class ShownGrant(msgspec.Struct, frozen=True, omit_defaults=True):
    """A grant as it is shown. `by_manifest` where no entry but a browser's manifest gives it."""

    origin: str
    scopes: list[str]
    quotas: Quotas
    created: datetime | None = None
    by_manifest: bool = False


def list_grants(json: Json = False, models: Models = None) -> None:
    """List the extensions, what they may do, and how much."""
    with _told():
        held = Grants(grants_file())
        entries = {grant.origin for grant in held.stored() or ()}
        found = [_shown(grant, grant.origin not in entries) for grant in held.all()]
    if json:
        print_json(found)
    elif found:
        out().print(_table(found))
    else:
        text = "no extension may use this host; `native-host install --extension-id ID` lets one"
        err().print(Text(text, style="dim"))


def grant(
    origin: Origin,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help=f"What it may do too, of {scopes.NAMES}; if it has nothing, {DEFAULT}.",
        ),
    ] = None,
    requests_per_minute: scopes.RequestsPerMinute = None,
    tokens_per_day: scopes.TokensPerDay = None,
    concurrent: scopes.Concurrent = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Let an extension do more, or limit how much; what is not named stays as it was."""
    quotas = Quotas(requests_per_minute, tokens_per_day, concurrent)
    with _told():
        made = grant_file.grant(grants_file(), _origin(origin), scopes.read(scope), quotas)
    _show(made, json)


def revoke(
    origin: Origin,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="What it may do no longer; everything.")
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Take what an extension may do from it: from now on it is refused."""
    named = _origin(origin)
    with _told():
        kept = grant_file.revoke(grants_file(), named, scopes.read(scope))
    if kept is not None:
        _show(kept, json)
    elif json:
        print_json({"origin": named, "revoked": True})
    else:
        out().print(f"{named} may do nothing any more")


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a grant or the file, as a command says it."""
    try:
        yield
    except GrantFileError as error:
        raise CommandFailed(str(error)) from error


def _origin(named: str) -> str:
    found = origin_of(named)
    if found is None:
        raise CommandFailed(
            f"{named!r} names no extension: Chromium's ids have 32 letters from a to p, their origins look "
            "like chrome-extension://ID/, Firefox's ids like name@place or {a UUID}"
        )
    return found


def _show(grant: Grant, json: bool) -> None:
    if json:
        print_json(_shown(grant))
        return
    limits = scopes.limits(grant.quotas)
    out().print(
        f"{grant.origin} may: {scopes.shown(grant.scopes)}" + ("" if limits == "–" else f"; {limits}")
    )


def _shown(grant: Grant, by_manifest: bool = False) -> ShownGrant:
    return ShownGrant(grant.origin, sorted(grant.scopes), grant.quotas, grant.created, by_manifest)


def _table(grants: list[ShownGrant]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("extension", "may", "limits", "since"):
        table.add_column(column, overflow="fold")
    for grant in grants:
        since = grant.created and grant.created.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")
        table.add_row(
            without_controls(grant.origin),
            scopes.shown(grant.scopes),
            scopes.limits(grant.quotas),
            "its manifest" if grant.by_manifest else since or "–",
        )
    return table


grants_app.command("list")(edged(list_grants))
grants_app.command("grant")(edged(grant))
grants_app.command("revoke")(edged(revoke))
