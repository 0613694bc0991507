"""`native-host keys`: makes, lists and revokes API keys. A running host heeds a change at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from native_host.cli import scopes
from native_host.cli.edge import CommandFailed, edged
from native_host.cli.options import Json, Models
from native_host.cli.output import err, out, print_json, shown_path, without_controls
from native_host.guard import key_file
from native_host.guard.keys import KeyFileError, StoredKey, now_utc
from native_host.platform.paths import keys_file
from native_host.protocol.identity import ALL_SCOPES, Quotas
from native_host.settings import Settings, SettingsError
from native_host.units import seconds_of

keys_app = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")

File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The file of keys; NATIVE_HOST_API_KEYS_FILE or the user's."),
]
Name = Annotated[str, typer.Argument(help="What the key is called.", show_default=False)]


class ShownKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """A key as it may be shown: everything but its hash. `key` is there once, when it is made."""

    name: str
    scopes: list[str]
    quotas: Quotas
    created: datetime | None = None
    expires: datetime | None = None
    expired: bool = False
    model: str | None = None
    prompt: str | None = None
    file: str | None = None
    key: str | None = None


def create(
    name: Name,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help=f"What it may do, of {scopes.NAMES}; everything."),
    ] = None,
    requests_per_minute: scopes.RequestsPerMinute = None,
    tokens_per_day: scopes.TokensPerDay = None,
    concurrent: scopes.Concurrent = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="From now, such as 30d or 12h, or a date: 2027-01-31.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model of requests that name none.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The named system prompt of its chats.")] = None,
    file: File = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Make an API key and show it, this once: only its hash is kept."""
    target = _file(file)
    with _told():
        key, made = key_file.create(
            target,
            name,
            scopes=scopes.read(scope) or ALL_SCOPES,
            quotas=Quotas(requests_per_minute, tokens_per_day, concurrent),
            expires=None if expires is None else _moment(expires, now_utc()),
            model=model,
            prompt=prompt,
        )
    if json:
        print_json(_shown(made, str(target), key))
        return
    out().print(key, soft_wrap=True)
    err().print(
        Text(f"Keep it now: it is not shown again. Its hash is in {shown_path(target)}.", style="dim")
    )


def list_keys(file: File = None, json: Json = False, models: Models = None) -> None:
    """List the keys: what they may do and how much, never the keys themselves."""
    with _told():
        found = [_shown(key) for key in key_file.stored(_file(file))]
    if json:
        print_json(found)
    elif found:
        out().print(_table(found))
    else:
        err().print(Text("no keys; `native-host keys create NAME` makes one", style="dim"))


def revoke(name: Name, file: File = None, json: Json = False, models: Models = None) -> None:
    """Revoke a key: from now on it is refused."""
    target = _file(file)
    with _told():
        key_file.revoke(target, name)
    if json:
        print_json({"name": name, "revoked": True})
    else:
        out().print(f"{name} is revoked")


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with a key or its file, as a command says it."""
    try:
        yield
    except (KeyFileError, SettingsError) as error:
        raise CommandFailed(str(error)) from error


def _file(named: Path | None) -> Path:
    return named or Settings.from_env().api_keys_file or keys_file()


def _moment(text: str, now: datetime) -> datetime:
    """A date (its first moment, UTC), or a time from now."""
    try:
        found = (_date(text) or now + _time(text)).astimezone(timezone.utc)
    except OverflowError:
        problem = f"{text} is out of range: a key may expire up to the year 9999"
        raise typer.BadParameter(problem, param_hint="--expires") from None
    if found <= now:
        raise typer.BadParameter(f"{text} has passed", param_hint="--expires")
    return found.replace(microsecond=0)


def _date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _time(text: str) -> timedelta:
    """Raises OverflowError for more than a timedelta holds."""
    try:
        seconds = seconds_of(text)
    except ValueError:
        seconds = math.inf  # as of a negative one
    if math.isinf(seconds):
        problem = f"{text!r} is neither a time such as 30d nor a date such as 2027-01-31"
        raise typer.BadParameter(problem, param_hint="--expires")
    return timedelta(seconds=seconds)


def _shown(key: StoredKey, file: str | None = None, plain: str | None = None) -> ShownKey:
    return ShownKey(
        name=key.name,
        scopes=sorted(key.scopes),
        quotas=key.quotas,
        created=key.created,
        expires=key.expires,
        expired=not key.valid(now_utc()),
        model=key.model,
        prompt=key.prompt,
        file=file,
        key=plain,
    )


def _table(keys: list[ShownKey]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("name", "scopes", "limits", "created", "expires", "model", "prompt"):
        table.add_column(column, overflow="fold")
    for key in keys:
        table.add_row(
            without_controls(key.name),
            scopes.shown(key.scopes),
            scopes.limits(key.quotas),
            _day(key.created),
            Text("expired", style="red") if key.expired else Text(_day(key.expires)),
            without_controls(key.model or "–"),
            without_controls(key.prompt or "–"),
        )
    return table


def _day(moment: datetime | None) -> str:
    return "–" if moment is None else moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")


keys_app.command("create")(edged(create))
keys_app.command("list")(edged(list_keys))
keys_app.command("revoke")(edged(revoke))
