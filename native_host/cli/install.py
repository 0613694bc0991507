"""`native-host install` and `uninstall`: make the host known to browsers, or no longer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.table import Table

from native_host.cli import browser_manifests as manifests
from native_host.cli.edge import CommandFailed
from native_host.cli.options import Json, Models
from native_host.cli.output import out, print_json, shown_path
from native_host.guard import grant_file
from native_host.guard.grants import GrantFileError, read_manifest
from native_host.platform.browsers import (
    BROWSERS,
    HOST_NAME,
    Browser,
    Family,
    in_use,
    manifest_files,
    manifest_folder,
    register,
    unregister,
)
from native_host.platform.paths import grants_file, sharing_file
from native_host.platform.whole_files import write_whole
from native_host.transports.relay.sharing import IDLE_EXIT, Sharing
from native_host.units import finite_seconds_of

NAMES = ", ".join(BROWSERS)
FAMILIES: tuple[Family, ...] = ("chromium", "firefox")

Which = Annotated[
    list[str] | None,
    typer.Option("--browser", help=f"Of {NAMES}; may be repeated. Otherwise: all that this user has."),
]
System = Annotated[bool, typer.Option("--system", help="For all users of this machine.")]
Folder = Annotated[
    Path | None,
    typer.Option("--dir", metavar="DIR", help="The folder of manifests, where a browser looks elsewhere."),
]


class Done(msgspec.Struct, frozen=True):
    """What became of one browser's manifest."""

    browser: str
    what: Literal["installed", "updated", "unchanged", "removed", "absent"]
    file: str


class Manifests(msgspec.Struct):
    """What was done, and the origins that manifests named before and name now."""

    done: list[Done] = msgspec.field(default_factory=list)
    before: list[str] = msgspec.field(default_factory=list)
    now: list[str] = msgspec.field(default_factory=list)


def install(
    extension_id: Annotated[
        list[str],
        typer.Option("--extension-id", metavar="ID", help="An extension that may start it; may be repeated."),
    ],
    browser: Which = None,
    directory: Folder = None,
    system: System = False,
    program: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="What browsers start; otherwise this installation's native-host."),
    ] = None,
    daemon: Annotated[
        bool | None,
        typer.Option(
            "--daemon/--no-daemon",
            help="Have browsers start a daemon that they share, or no longer; otherwise as it was.",
            show_default=False,
        ),
    ] = None,
    idle_exit: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"When such a daemon ends with nothing to do; {IDLE_EXIT}."),
    ] = None,
    json: Json = False,
    models: Models = None,
) -> None:
    """Make the host known to browsers, so that the extensions named may start it and use its models.

    The manifests allow the extensions named here and no others: name all of them each time. `native-host
    grants` says what each may do.
    """
    if models is not None:
        raise CommandFailed(
            "browsers start the host without arguments: models.json goes into the user's folder"
        )
    sharing = _sharing(daemon, idle_exit)
    path = manifests.program_path(program)
    named = {family: manifests.ids_for(family, extension_id) for family in FAMILIES}
    found = Manifests()
    for each, folder in _chosen(browser, directory, system):
        if ids := named[each.family]:
            _install(each, folder, manifests.of(each, ids, path), system, found)
        elif browser:
            raise CommandFailed(f"none of these ids is one of an extension of {each.name}")
    if not found.done:
        raise CommandFailed("none of these ids is one of an extension of a browser that was found")
    if sharing is not None:
        write_whole(sharing_file(), msgspec.json.format(msgspec.json.encode(sharing), indent=2) + b"\n")
    _follow(found, system)
    _show(found.done, json)


def uninstall(
    browser: Which = None,
    directory: Folder = None,
    system: System = False,
    json: Json = False,
    models: Models = None,
) -> None:
    """Take the host away from browsers, and from their extensions what they may do. What is not there is no
    error.
    """
    del models  # every command takes it
    found = Manifests()
    for each, folder in _chosen(browser, directory, system):
        _uninstall(each, folder, system, found)
    _follow(found, system)
    if not any(file.is_file() for _, file in manifest_files(system=False)):
        sharing_file().unlink(missing_ok=True)
    _show(found.done, json)


def _sharing(daemon: bool | None, idle_exit: str | None) -> Sharing | None:
    """What the file is to say of the daemon; None where it stays as it is. Raises BadParameter."""
    if daemon is None and idle_exit is None:
        return None
    if not daemon and idle_exit is not None:
        raise typer.BadParameter("is for a daemon that browsers start: --daemon", param_hint="--idle-exit")
    try:
        finite_seconds_of(idle_exit or IDLE_EXIT)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--idle-exit") from None
    return Sharing("start" if daemon else "join", idle_exit or IDLE_EXIT)


def _follow(found: Manifests, system: bool) -> None:
    """Give the extensions that are named now the default grant, and take theirs from those that no manifest
    names any more. Manifests for all users speak for themselves.
    """
    try:
        grant_file.follow_manifests(grants_file(), () if system else found.now, found.before)
    except GrantFileError as error:
        raise CommandFailed(f"browsers may start the host, but nothing was granted: {error}") from error


def _chosen(names: list[str] | None, directory: Path | None, system: bool) -> list[tuple[Browser, Path]]:
    """Browsers with the folders of their manifests. Raises CommandFailed."""
    for name in names or []:
        if name not in BROWSERS:
            raise CommandFailed(f"{name!r} is no browser that is known here; there are {NAMES}")
    if directory is not None and len(names or []) != 1:
        raise CommandFailed("--dir is one browser's folder: name the browser, by --browser")
    chosen = [BROWSERS[name] for name in dict.fromkeys(names)] if names else in_use()
    if not chosen:
        raise CommandFailed(f"no browser of this user was found; --browser names one of {NAMES}")
    if directory is not None:
        return [(chosen[0], directory.absolute())]
    return [(each, _folder(each, system)) for each in chosen if names or manifest_folder(each, system=system)]


def _folder(browser: Browser, system: bool) -> Path:
    folder = manifest_folder(browser, system=system)
    if folder is None:
        raise CommandFailed(f"{browser.name} has no folder for all users; install it without --system")
    return folder


def _install(
    browser: Browser, folder: Path, manifest: manifests.Manifest, system: bool, found: Manifests
) -> None:
    file, content = folder / f"{HOST_NAME}.json", manifests.encoded(manifest)
    before = file.read_bytes() if file.is_file() else None
    found.before += _named_in(file)
    if before != content:
        write_whole(file, content)
        file.chmod(0o644)
    register(browser, file, system=system)
    found.now += manifest.origins
    what: Literal["installed", "updated", "unchanged"] = "installed" if before is None else "updated"
    found.done.append(Done(browser.name, "unchanged" if before == content else what, str(file)))


def _uninstall(browser: Browser, folder: Path, system: bool, found: Manifests) -> None:
    file = folder / f"{HOST_NAME}.json"
    there = file.is_file()
    found.before += _named_in(file)
    unregister(browser, system=system)
    file.unlink(missing_ok=True)
    found.done.append(Done(browser.name, "removed" if there else "absent", str(file)))


def _named_in(file: Path) -> list[str]:
    """The origins that a manifest names; none for one that is not there, or is none."""
    try:
        return read_manifest(file)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return []


def _show(done: list[Done], json: bool) -> None:
    if json:
        print_json(done)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for each in done:
        table.add_row(each.browser, each.what, shown_path(each.file) if sys.stdout.isatty() else each.file)
    out().print(table)
